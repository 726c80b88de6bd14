"""What the fleet offers gangs in one pass: trees of nodes, the room on them, and places as status has them.

Whatever kube-scheduler does with the pods of a gang, it does within the gang's places: a node that may still
take pods of one is closed to others, as far as those pods might fill it.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from gpufleet.api import accelerator as accelerators
from gpufleet.api import gpu_pool, training_job
from gpufleet.api import topology as topologies
from gpufleet.decide.placement import booking
from gpufleet.decide.placement.gangs import tree as trees
from gpufleet.state import snapshot

Job = training_job.TrainingJob
Assigned = accelerators.AssignedAccelerator
Places = Mapping[str, int]
"""Workers by node."""

LISTED_NODES = 64
"""A gang on more nodes is told its domains: the list is in each of its pods."""


@dataclasses.dataclass(frozen=True, slots=True)
class Misfit:
    """Why a wish about the topology can never be granted."""

    message: str


class Ground:
    """Trees and rooms, made once per need and pass."""

    def __init__(self, view: snapshot.Snapshot, books: booking.Books) -> None:
        self._books = books
        self._pools: Mapping[str, gpu_pool.GPUPool] = {pool.metadata.name: pool for pool in view.pools}
        self._trees: dict[tuple[object, ...], trees.Tree] = {}
        self._idle: dict[tuple[object, ...], list[int]] = {}
        self._rooms: dict[tuple[object, ...], tuple[int, list[int]]] = {}
        self._nodes = {node.name: node for node in view.nodes}

    def levels_of(self, assigned: Assigned) -> Sequence[str]:
        """Levels of the pool that serves it; where there are some, gangs get their nodes."""
        pool = self._pools.get(assigned.pool or "")
        return pool.spec.topology.levels if pool and pool.spec.topology else ()

    def tree_of(self, assigned: Assigned) -> trees.Tree:
        """All nodes on which such a pod may run."""
        key = booking.key_of(assigned)
        if key not in self._trees:
            self._trees[key] = trees.Tree(self.levels_of(assigned), self._books.nodes_for(assigned))
        return self._trees[key]

    def read_ask(self, job: Job, assigned: Assigned) -> trees.Ask | Misfit:
        """The job's wish by the numbers of the pool's levels; a preference for none that is there is none."""
        wish, levels = job.spec.topology, self.levels_of(assigned)
        if wish is None:
            return trees.ANYWHERE
        needed = [one for one in (wish.required, wish.slices.required if wish.slices else None) if one]
        for name in needed:
            if _find_level(name, levels) is None:
                known = f"has {', '.join(levels)}" if levels else "has no spec.topology"
                where = f"pool {assigned.pool or '(none)'}"
                return Misfit(f"topology asks for level {name}, which {where} lacks: it {known}")
        return trees.Ask(
            required=_find_level(wish.required, levels),
            preferred=_find_level(wish.preferred, levels),
            slice_level=_find_level(wish.slices.required, levels) if wish.slices else None,
            slice_size=wish.slices.size if wish.slices else 1,
        )

    def rooms(
        self, assigned: Assigned, *, into_reserved: bool = False, without: Iterable[str] = ()
    ) -> list[int]:
        """Workers that fit on each node of the tree."""
        names = self.tree_of(assigned).names
        key = (*booking.key_of(assigned), into_reserved)
        version, found = self._rooms.get(key, (-1, []))
        if version != self._books.version:
            found = self._books.list_places(names, assigned, into_reserved=into_reserved)
            self._rooms[key] = (self._books.version, found)
        if shunned := frozenset(without):
            return [0 if name in shunned else room for name, room in zip(names, found, strict=True)]
        return found

    def is_full(self, assigned: Assigned) -> bool:
        """Whether not one device is free, reserved or not."""
        return all(self._books.count_unkept(name, assigned) <= 0 for name in self.tree_of(assigned).names)

    def rooms_with(self, assigned: Assigned, freed: Mapping[str, int]) -> list[int]:
        """As `rooms`, once so many units of the resource more are free on these nodes."""
        return [
            max(0, self._books.count_unkept(name, assigned) + freed.get(name, 0)) // assigned.count
            if self._nodes[name].is_usable
            else 0
            for name in self.tree_of(assigned).names
        ]

    def idle_rooms(self, assigned: Assigned, *, usable: bool = True) -> list[int]:
        """Workers that would fit if nobody else held anything; also on nodes that are not usable just now."""
        key = (*booking.key_of(assigned), usable)
        if key not in self._idle:
            self._idle[key] = [
                node.allocatable.get(assigned.resource, 0) // assigned.count
                if node.is_usable or not usable
                else 0
                for node in (self._nodes[name] for name in self.tree_of(assigned).names)
            ]
        return self._idle[key]

    def describe(self, assigned: Assigned, places: Places) -> topologies.Placement | None:
        """Places as status has them; None where the pool's levels are not known: then pods run anywhere."""
        levels = self.levels_of(assigned)
        if not levels:
            return None
        if len(places) <= LISTED_NODES:
            return _build([topologies.NODE_LEVEL], {(name,): here for name, here in places.items()})
        tree = self.tree_of(assigned)
        numbers = [(number, places[name]) for number, name in enumerate(tree.names) if name in places]
        for level in range(len(levels) - 1, -1, -1):
            domains: Counter[trees.Path] = Counter()
            for number, workers in numbers:
                path = tree.domain_of(number, level)
                if path is None:
                    return None
                domains[path] += workers
            if len(domains) <= LISTED_NODES or level == 0:
                return _build(levels[: level + 1], domains)
        return None

    def hold(self, places: Places) -> topologies.Placement:
        """Places node by node, to be kept for a gang that waits."""
        return _build([topologies.NODE_LEVEL], {(name,): here for name, here in places.items()})

    def nodes_in(
        self, assigned: Assigned, placement: topologies.Placement
    ) -> Iterator[tuple[int, list[str]]]:
        """(workers, names of its nodes) of each domain; a node or domain that is gone has none."""
        tree = self.tree_of(assigned)
        wanted = {tuple(one.values): one.workers for one in placement.domains}
        members: dict[trees.Path, list[str]] = defaultdict(list)
        by_node = placement.levels == [topologies.NODE_LEVEL]
        depth = len(placement.levels) - 1
        is_known = by_node or list(placement.levels) == list(tree.levels[: depth + 1])
        for number, name in enumerate(tree.names) if is_known else ():
            path = (name,) if by_node else tree.domain_of(number, depth)
            if path in wanted:
                members[path].append(name)
        for path, workers in wanted.items():
            yield workers, members.get(path, [])


def _find_level(name: str | None, levels: Sequence[str]) -> int | None:
    """By the whole key, else by what stands after its slash."""
    if name is None:
        return None
    if name in levels:
        return levels.index(name)
    short = [level.rpartition("/")[2] for level in levels]
    return short.index(name) if name in short else None


def _build(levels: Sequence[str], domains: Mapping[trees.Path, int]) -> topologies.Placement:
    listed = [
        topologies.Domain(values=list(path), workers=workers) for path, workers in sorted(domains.items())
    ]
    return topologies.Placement(levels=list(levels), domains=listed[: topologies.MOST_DOMAINS])
