"""The planner's bound, and what is near it: the configuration program with whole numbers let go.

Column generation (Dantzig and Wolfe, 1960): prices of goods say which option each class of equal GPUs takes;
those choices of the whole fleet are columns of a small program, whose prices are the next ones. At every step
the prices prove that no plan is worth more than a bound (Lagrange's).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from gpufleet.decide.mig.planning import market, options, simplex

_MOST_COLUMNS = 80
_EPSILON = 1e-9
_CLOSE = 1e-6
"""Relative distance between value and bound at which it ends."""


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """GPUs that are alike in everything that matters, by their numbers."""

    choices: options.Choices
    size: int
    room: float = 0.0
    """What the forecast could still make of one of them: of equal steps, those with least room come first."""


Picks = tuple[int, ...]
"""The number of the option that each group takes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Relaxed:
    """An optimum that splits groups: shares of the fleet that take these picks."""

    shares: tuple[tuple[Picks, float], ...]
    prices: tuple[float, ...]
    """Worth of one more slice of each good."""
    bound: Bound


@dataclasses.dataclass(frozen=True, slots=True)
class Bound:
    """No plan serves more weighted demand than `value`, running slices included; `prices` prove it."""

    value: float
    prices: tuple[float, ...]

    def replace(
        self, wanted: market.Market, now: market.Market, gone: Sequence[Group], come: Sequence[Group]
    ) -> Bound:
        """The bound of another fleet and market with the same goods, which the same prices prove."""
        change = worth_of_demand(now, self.prices) - worth_of_demand(wanted, self.prices)
        change += _pick(come, self.prices)[2] - _pick(gone, self.prices)[2]
        return dataclasses.replace(self, value=self.value + change)


def trivial_bound(wanted: market.Market) -> Bound:
    """All that is wanted: slices are worth nothing."""
    return Bound(wanted.wanted, (0.0,) * wanted.goods)


def relax(wanted: market.Market, groups: Sequence[Group]) -> Relaxed:
    """The relaxed optimum, or what is known of it after the last column."""
    kinds, sets = wanted.kinds, len(wanted.sets)
    # Columns are means per GPU, so that entries stay small and shares add up to the size of the fleet.
    size = max(1, sum(group.size for group in groups))
    program = simplex.Program([0.0] * sets + [float(kind.count) for kind in kinds] + [float(size)])
    for number, kind in enumerate(kinds):
        column = [0.0] * (sets + len(kinds) + 1)
        for index in kind.sets:
            column[index] = 1.0
        column[sets + number] = 1.0
        program.add(kind.weight, column)
    picked: list[Picks] = [(0,) * len(groups)]
    _add_column(program, wanted, groups, picked[0], size)
    bound = trivial_bound(wanted)
    prices = bound.prices
    for _ in range(_MOST_COLUMNS):
        program.solve()
        rows = program.prices()
        prices = tuple(sum(rows[index] for index in which) for which in wanted.sets_of_good)
        picks, worth, most = _pick(groups, prices)
        picks, worth, most = _pick(groups, prices)
        demand = sum(
            kind.count * max(0.0, kind.weight - sum(rows[index] for index in kind.sets)) for kind in kinds
        )
        demand = worth_of_demand(wanted, prices)
        bound = min(bound, Bound(demand + most, prices), key=lambda one: one.value)
        if demand + worth - program.value <= _CLOSE * max(1.0, program.value) or picks in picked:
            break
        picked.append(picks)
        _add_column(program, wanted, groups, picks, size)
    found = program.solution()
    shares = tuple(
        (picks, found[len(kinds) + number] / size)
        for number, picks in enumerate(picked)
        if len(kinds) + number in found
    )
    return Relaxed(shares, prices, bound)


def supply_of(wanted: market.Market, groups: Sequence[Group], picks: Picks) -> list[int]:
    """The fleet's slices by good when every group takes its pick."""
    supply = [0] * wanted.goods
    for group, pick in zip(groups, picks, strict=True):
        for good, number in group.choices.option(pick).supply:
            supply[good] += number * group.size
    return supply


def worth_of_demand(wanted: market.Market, prices: Sequence[float]) -> float:
    """What demand is worth beyond the prices of the slices it takes, the cheapest that it accepts."""
    return sum(
        kind.count * max(0.0, kind.weight - min(prices[good] for good in kind.accepts))
        for kind in wanted.kinds
    )


def _add_column(
    program: simplex.Program, wanted: market.Market, groups: Sequence[Group], picks: Picks, size: int
) -> None:
    supply = supply_of(wanted, groups, picks)
    cost = sum(
        group.size * group.choices.option(pick).cost for group, pick in zip(groups, picks, strict=True)
    )
    goods = [-sum(supply[good] for good in one) / size for one in wanted.sets]
    program.add(-cost / size, [*goods, *([0.0] * len(wanted.kinds)), 1.0])


class Worths:
    """What options are worth at prices; each table is looked through once."""

    def __init__(self, prices: Sequence[float]) -> None:
        self._prices = prices
        self._tables: dict[int, tuple[float, ...]] = {}
        self._bests: dict[int, tuple[float, int]] = {}

    def of(self, supply: market.Supply) -> float:
        worth = 0.0
        for good, slices in supply:
            worth += self._prices[good] * slices
        return worth

    def of_table(self, table: options.Table) -> tuple[float, ...]:
        """Of all its entries."""
        if table.number not in self._tables:
            self._tables[table.number] = tuple(self.of(supply) for supply in table.supplies)
        return self._tables[table.number]

    def best_of(self, table: options.Table) -> tuple[float, int]:
        """The best entry: its worth and its place."""
        if table.number not in self._bests:
            worths = self.of_table(table)
            place = max(range(len(worths)), key=worths.__getitem__)
            self._bests[table.number] = (worths[place], place)
        return self._bests[table.number]


def _pick(groups: Sequence[Group], prices: Sequence[float]) -> tuple[Picks, float, float]:
    """Each group's best option at these prices; what they are worth with costs, and at most without."""
    worths = Worths(prices)
    picks, worth, most = [], 0.0, 0.0
    for group in groups:
        choices = group.choices
        best, net = 0, worths.of(choices.keep)
        gross = net
        for first, variant in zip(choices.firsts, choices.variants, strict=False):
            value, entry = worths.best_of(variant.table)
            value += worths.of(variant.base)
            gross = max(gross, value)
            if value - variant.cost > net + _EPSILON:
                best, net = first + entry, value - variant.cost
        picks.append(best)
        worth += net * group.size
        most += gross * group.size
    return tuple(picks), worth, most
