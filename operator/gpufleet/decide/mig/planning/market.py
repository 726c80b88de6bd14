"""Which slices can serve which demand, and what a supply of slices is worth.

Slices that the same demands accept are one *good*. Demands of equal weight that accept the same goods are
one *kind*; those whose accepted goods contain one another form a tree, and then serving the heaviest first,
within what each set of goods still has, serves the most weight (a laminar matroid's greedy algorithm;
Edmonds, "Matroids and the greedy algorithm", 1971).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from gpufleet.decide.mig import devices, geometry
from gpufleet.decide.mig.planning import values

RUNNING_FACTOR = 64.0
"""Weight of a running slice that may move, in units of the heaviest waiting one: it is never given up.

One GPU serves far fewer slices than this.
"""

Supply = tuple[tuple[int, int], ...]
"""Numbers of slices by good, sorted; goods without any are left out."""


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """Slices of equal weight that the same goods serve. `demands` are the indices of what they are."""

    weight: float
    count: int
    accepts: frozenset[int]
    sets: tuple[int, ...]
    """Sets of goods, as numbered by the market, that contain all it accepts."""
    demands: tuple[int, ...]
    is_running: bool


@dataclasses.dataclass(frozen=True, slots=True)
class _Part:
    """Kinds and sets that share no good with others: its worth is computed apart."""

    kinds: tuple[Kind, ...]
    sets: tuple[int, ...]


class Market:
    """Goods and kinds of one fleet and one demand."""

    def __init__(
        self,
        models: Iterable[devices.DeviceModel],
        demands: Sequence[values.Demand],
        running: Mapping[tuple[str, str], int],
    ) -> None:
        self.demands = demands
        self.models = {model.name: model for model in models}
        raw = [
            *_read_running(running, demands),
            *((demand.weight, demand.count, self._find(demand), (index,), False)
              for index, demand in enumerate(demands)),
        ]  # fmt: skip
        merged = _make_laminar(_merge(raw))
        self.good_of = _number_goods([accepts for _, _, accepts, _, _ in merged])
        self.goods = max(self.good_of.values(), default=-1) + 1
        self._number_sets(merged)
        self.wanted = sum(kind.weight * kind.count for kind in self.kinds)
        self.running = sum(kind.weight * kind.count for kind in self.kinds if kind.is_running)

    def _find(self, demand: values.Demand) -> frozenset[tuple[str, str]]:
        """(model, profile) of all slices that serve the demand."""
        return frozenset(
            (model.name, model.profiles_by_name[demand.profile].name)
            for model in self.models.values()
            if demand.profile in model.profiles_by_name
            and (demand.models is None or model.name in demand.models)
        )

    def _number_sets(self, merged: Sequence[_Raw]) -> None:
        accepts = [frozenset(self.good_of[one] for one in keys) for _, _, keys, _, _ in merged]
        self.sets = sorted(set(accepts), key=sorted)
        above = {
            one: tuple(index for index, other in enumerate(self.sets) if one <= other) for one in self.sets
        }
        self.kinds = [
            Kind(weight, count, goods, above[goods], demands, is_running)
            for (weight, count, _, demands, is_running), goods in zip(merged, accepts, strict=True)
        ]
        self.sets_of_good = [
            tuple(index for index, one in enumerate(self.sets) if good in one) for good in range(self.goods)
        ]
        roots = {one: max(above[one], key=lambda index: len(self.sets[index])) for one in self.sets}
        self.parts = [
            _Part(
                tuple(kind for kind in self.kinds if roots[kind.accepts] == root),
                tuple(index for index, one in enumerate(self.sets) if roots[one] == root),
            )
            for root in sorted(set(roots.values()))
        ]
        numbers = {root: number for number, root in enumerate(sorted(set(roots.values())))}
        self.part_of_good = [0] * self.goods
        for one, root in roots.items():
            for good in one:
                self.part_of_good[good] = numbers[root]

    def worth_of_part(self, part: int, supply: Sequence[int]) -> float:
        """Weighted demand of one part that a supply (by good) serves."""
        found = self.parts[part]
        if len(found.sets) == 1:
            return self._worth_of_set(found, sum(supply[good] for good in self.sets[found.sets[0]]))
        slack = {index: sum(supply[good] for good in self.sets[index]) for index in found.sets}
        worth = 0.0
        for kind in found.kinds:
            served = kind.count
            for index in kind.sets:
                if slack[index] < served:
                    served = slack[index]
            if served > 0:
                worth += served * kind.weight
                for index in kind.sets:
                    slack[index] -= served
        return worth

    def _worth_of_set(self, part: _Part, slices: int) -> float:
        worth = 0.0
        for kind in part.kinds:
            if slices <= kind.count:
                return worth + slices * kind.weight
            worth += kind.count * kind.weight
            slices -= kind.count
        return worth

    def worth(self, supply: Sequence[int]) -> float:
        """Weighted demand that a supply (by good) serves, running slices included."""
        return sum(self.worth_of_part(part, supply) for part in range(len(self.parts)))

    def serve(self, supply: Sequence[int]) -> tuple[list[int], list[int]]:
        """Slices that each kind gets, and what each set of goods has left over."""
        slack = [sum(supply[good] for good in goods) for goods in self.sets]
        served = []
        for kind in self.kinds:
            number = min(kind.count, *(slack[index] for index in kind.sets))
            served.append(number)
            for index in kind.sets:
                slack[index] -= number
        return served, slack

    def outcomes(self, supply: Sequence[int]) -> tuple[values.Outcome, ...]:
        """What each demand gets, those of one kind in their order. Running slices are not told of."""
        served = [0] * len(self.demands)
        for kind, number in zip(self.kinds, self.serve(supply)[0], strict=True):
            for index in () if kind.is_running else kind.demands:
                served[index] = min(number, self.demands[index].count)
                number -= served[index]
        return tuple(
            values.Outcome(demand, number) for demand, number in zip(self.demands, served, strict=True)
        )

    def keeps_running(self, supply: Sequence[int]) -> bool:
        """Whether every slice that moves has a place again."""
        served, _ = self.serve(supply)
        return all(
            number == kind.count for kind, number in zip(self.kinds, served, strict=True) if kind.is_running
        )

    def supply_of(self, model: str, placements: Iterable[geometry.Placement]) -> Supply:
        """The goods among these slices of one model."""
        found: dict[int, int] = {}
        for one in placements:
            good = self.good_of.get((model, one.profile))
            if good is not None:
                found[good] = found.get(good, 0) + 1
        return tuple(sorted(found.items()))


_Raw = tuple[float, int, frozenset[tuple[str, str]], tuple[int, ...], bool]
"""Weight, count, accepted (model, profile) pairs, demands, whether it runs."""


def _read_running(running: Mapping[tuple[str, str], int], demands: Sequence[values.Demand]) -> list[_Raw]:
    heaviest = max((demand.weight for demand in demands), default=1.0)
    return [
        (RUNNING_FACTOR * heaviest, count, frozenset({key}), (), True)
        for key, count in sorted(running.items())
    ]


def _merge(raw: Iterable[_Raw]) -> list[_Raw]:
    """Equal kinds as one, the heaviest first; what no slice serves is left out."""
    merged: dict[tuple[float, frozenset[tuple[str, str]], bool], tuple[int, tuple[int, ...]]] = {}
    for weight, count, accepts, demands, is_running in raw:
        if accepts and (count > 0 or is_running):
            key = (weight, accepts, is_running)
            before, listed = merged.get(key, (0, ()))
            merged[key] = (before + count, (*listed, *demands))
    found = [(w, count, accepts, ids, runs) for (w, accepts, runs), (count, ids) in merged.items()]
    return sorted(found, key=lambda one: (-one[0], len(one[2]), sorted(one[2])))


def _make_laminar(raw: Sequence[_Raw]) -> list[_Raw]:
    """Sets that overlap without one containing the other are cut to the part in common: never too much."""
    kept: list[frozenset[tuple[str, str]]] = []
    found = []
    for weight, count, accepts, demands, is_running in raw:
        for other in kept:
            if accepts & other and not (accepts <= other or other <= accepts):
                accepts = accepts & other
        kept.append(accepts)
        found.append((weight, count, accepts, demands, is_running))
    return found


def _number_goods(accepted: Sequence[frozenset[tuple[str, str]]]) -> dict[tuple[str, str], int]:
    keys = sorted(set().union(*accepted))
    signatures = {key: tuple(key in one for one in accepted) for key in keys}
    numbers: dict[tuple[bool, ...], int] = {}
    for key in keys:
        numbers.setdefault(signatures[key], len(numbers))
    return {key: numbers[signatures[key]] for key in keys}
