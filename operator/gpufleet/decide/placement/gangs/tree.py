"""Domains of a pool as a tree, and the nodes of a gang in it: BestFit and LeastFreeCapacity.

The rules are Kueue's (KEP-2724): one domain of the required level, the tightest that holds the gang; for a
preferred level else one of the next wider level, else several, those with most room first and the last one
swapped for the tightest fit. Without a wish, nodes with the least room go first. Room counts in whole slices
down to the level of slices, and in workers below.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

from gpufleet.state import fleet

Path = tuple[str, ...]
Sums = list[list[int]]
Option = tuple[int, int]
"""A domain or a node by its number, and the room in it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Ask:
    """What a gang asks, by the numbers of levels; the widest is 0."""

    required: int | None = None
    preferred: int | None = None
    slice_level: int | None = None
    slice_size: int = 1

    def count_units(self, level: int, workers: int) -> int:
        """Slices at the level of slices and above, workers below."""
        return workers // self.slice_size if self._is_sliced(level) else workers

    def count_workers(self, level: int, units: int) -> int:
        return units * self.slice_size if self._is_sliced(level) else units

    def _is_sliced(self, level: int) -> bool:
        return self.slice_level is not None and level <= self.slice_level


ANYWHERE = Ask()


class Tree:
    """Nodes under the domains of each level. A node that lacks one of the labels is in no domain."""

    def __init__(self, levels: Sequence[str], nodes: Iterable[fleet.Node]) -> None:
        self.levels = tuple(levels)
        placed = sorted(((_read_path(levels, node), node.name) for node in nodes), key=_labelled_first)
        self.names = [name for _, name in placed]
        self.paths: list[list[Path]] = [[] for _ in levels]
        self._children: list[list[list[int]]] = [[] for _ in levels]
        self._leaves: list[int] = []
        known: list[dict[Path, int]] = [{} for _ in levels]
        for number, (path, _) in enumerate(placed):
            if path is None:
                break
            self._leaves.append(self._add(path, number, known))

    def _add(self, path: Path, node: int, known: list[dict[Path, int]]) -> int:
        """The number of the node's narrowest domain."""
        above = -1
        for level in range(len(self.levels)):
            prefix = path[: level + 1]
            number = known[level].get(prefix)
            if number is None:
                number = known[level][prefix] = len(self.paths[level])
                self.paths[level].append(prefix)
                self._children[level].append([])
                if level:
                    self._children[level - 1][above].append(number)
            above = number
        if above >= 0:
            self._children[-1][above].append(node)
        return above

    def find(
        self, rooms: Sequence[int], workers: int, ask: Ask = ANYWHERE, sums: Sums | None = None
    ) -> Mapping[str, int] | None:
        """Workers by node, so that all have room; None where no choice of nodes does what is asked.

        `rooms` are workers that fit on each node, in the order of `names`; `workers` is a multiple of the
        size of slices; `sums` are those of the rooms, where they are known.
        """
        if self._is_free(ask):
            taken = _take_least([*enumerate(rooms)], workers)
            return None if taken is None else {self.names[node]: here for node, here in taken.items()}
        sums = sums or self.sum(rooms, ask)
        start = self._choose(sums, workers, ask)
        return None if start is None else self._descend(*start, sums, rooms, ask)

    def count_most(self, rooms: Sequence[int], ask: Ask = ANYWHERE, sums: Sums | None = None) -> int:
        """The largest gang that `find` finds nodes for."""
        if self._is_free(ask):
            return sum(rooms)
        sums = sums or self.sum(rooms, ask)
        if ask.required is not None:
            return ask.count_workers(ask.required, max(sums[ask.required], default=0))
        return ask.count_workers(0, sum(sums[0]))

    def domains_at(self, level: int) -> list[Path | None]:
        """The domain of each node."""
        return [self.domain_of(node, level) for node in range(len(self.names))]

    def domain_of(self, node: int, level: int) -> Path | None:
        """None for a node that is in no domain."""
        if node >= len(self._leaves):
            return None
        return self.paths[-1][self._leaves[node]][: level + 1]

    def _is_free(self, ask: Ask) -> bool:
        return not self.levels or (ask.required is None and ask.preferred is None and ask.slice_level is None)

    def sum(self, rooms: Sequence[int], ask: Ask) -> Sums:
        """Units of room in each domain of each level."""
        sums = [[0] * len(paths) for paths in self.paths]
        here = rooms
        for level in range(len(self.levels) - 1, -1, -1):
            for members, number in zip(self._children[level], range(len(self.paths[level])), strict=True):
                sums[level][number] = sum([here[one] for one in members])
            if level == ask.slice_level:
                sums[level] = [room // ask.slice_size for room in sums[level]]
            here = sums[level]
        return sums

    def _choose(self, sums: Sums, workers: int, ask: Ask) -> tuple[int, Mapping[int, int]] | None:
        """(level, units by domain) from which the gang is laid out."""
        wanted = ask.required if ask.required is not None else ask.preferred
        if wanted is None:
            level = ask.slice_level or 0
            least = _take_least([*enumerate(sums[level])], ask.count_units(level, workers))
            return None if least is None else (level, least)
        for level in range(wanted, -1, -1):
            units = ask.count_units(level, workers)
            fitting = [(room, number) for number, room in enumerate(sums[level]) if room >= units]
            if fitting:
                return level, {min(fitting)[1]: units}
            if ask.required is not None:
                return None
        spread = _take_most([*enumerate(sums[0])], ask.count_units(0, workers))
        return None if spread is None else (0, spread)

    def _descend(
        self,
        level: int,
        chosen: Mapping[int, int],
        sums: Sums,
        rooms: Sequence[int],
        ask: Ask,
    ) -> Mapping[str, int]:
        """From domains to nodes; each domain has room for what it was given."""
        for above in range(level, len(self.levels)):
            below = above + 1
            room_of = sums[below] if below < len(self.levels) else rooms
            following: dict[int, int] = {}
            for number, units in chosen.items():
                need = ask.count_units(below, ask.count_workers(above, units))
                options = [(child, room_of[child]) for child in self._children[above][number]]
                following |= _take_most(options, need) or {}
            chosen = following
        return {self.names[node]: here for node, here in chosen.items()}


def _read_path(levels: Sequence[str], node: fleet.Node) -> Path | None:
    values = tuple(node.labels.get(level, "") for level in levels)
    return values if all(values) else None


def _labelled_first(placed: tuple[Path | None, str]) -> tuple[bool, Path, str]:
    path, name = placed
    return path is None, path or (), name


def _take_most(options: list[Option], need: int) -> dict[int, int] | None:
    """BestFit: as few as possible, the last one as tight as possible."""
    left, taken = need, dict[int, int]()
    ordered = sorted(options, key=lambda option: (-option[1], option[0]))
    for position, (number, room) in enumerate(ordered):
        if left <= 0:
            break
        if room >= left:
            tightest = min(_fitting(ordered[position:], left))
            taken[tightest[1]] = left
            return taken
        taken[number] = room
        left -= room
    return taken if left <= 0 else None


def _fitting(options: Iterable[Option], need: int) -> Iterator[tuple[int, int]]:
    """Those are in the order of their room, so that the first too small is the last to look at."""
    for number, room in options:
        if room < need:
            return
        yield room, number


def _take_least(options: list[Option], need: int) -> dict[int, int] | None:
    """LeastFreeCapacity: what is almost full is filled first."""
    left, taken = need, dict[int, int]()
    for room, number in sorted((room, number) for number, room in options if room > 0):
        if left <= 0:
            break
        taken[number] = min(room, left)
        left -= taken[number]
    return taken if left <= 0 else None
