"""The planner's bound, and what is near it: the configuration program with whole numbers let go.

Column generation (Dantzig and Wolfe, 1960): prices of goods say which option each class of equal GPUs takes;
those choices of the whole fleet are columns of a small program, whose prices are the next ones. At every step
the prices prove that no plan is worth more than a bound (Lagrange's).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from gpufleet.decide.mig.planning import market, options, simplex

_MOST_ROUNDS = 60
_EPSILON = 1e-9
_CLOSE = 1e-4
"""Relative distance between value and bound at which it ends in a large fleet; in others it goes on."""


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """GPUs of one model that are alike in everything that matters, by their numbers."""

    choices: options.Choices
    size: int
    model: str = ""
    room: float = 0.0
    """What the forecast could still make of one of them: of equal steps, those with least room come first."""


Picks = tuple[int, ...]
"""The number of the option that each group takes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Relaxed:
    """An optimum that splits groups."""

    shares: dict[str, tuple[tuple[Picks, float], ...]]
    """By model: shares of its GPUs that take these picks, of which those of its groups count."""
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


def relax(wanted: market.Market, groups: Sequence[Group], *, is_large: bool = False) -> Relaxed:
    """The relaxed optimum, or what is known of it after the last column."""
    master = _Master(wanted, groups)
    close = _CLOSE if is_large else _EPSILON
    bound = trivial_bound(wanted)
    master.add((0,) * len(groups))
    for _ in range(_MOST_ROUNDS):
        master.program.solve()
        prices = master.prices()
        picks, worth, most = _pick(groups, prices)
        demand = worth_of_demand(wanted, prices)
        bound = min(bound, Bound(demand + most, prices), key=lambda one: one.value)
        away = demand + worth - master.program.value
        if away <= close * max(1.0, master.program.value - wanted.running) or not master.add(picks):
            break
    return Relaxed(master.shares(), bound)


class _Master:
    """The small program: how much of each kind is served, and which shares of a model take which picks.

    Columns are means per GPU of a model, so that entries stay small and shares add up to its GPUs.
    """

    def __init__(self, wanted: market.Market, groups: Sequence[Group]) -> None:
        self._market = wanted
        self._groups = groups
        self._sizes: dict[str, int] = {}
        self._members: dict[str, list[int]] = {}
        for number, group in enumerate(groups):
            if group.size:
                self._sizes[group.model] = self._sizes.get(group.model, 0) + group.size
                self._members.setdefault(group.model, []).append(number)
        kinds, sets = wanted.kinds, len(wanted.sets)
        limits = [0.0] * sets + [float(kind.count) for kind in kinds]
        self._first_size = len(limits)
        self.program = simplex.Program([*limits, *(float(size) for size in self._sizes.values())])
        for number, kind in enumerate(kinds):
            column = [0.0] * (len(limits) + len(self._sizes))
            for index in kind.sets:
                column[index] = 1.0
            column[sets + number] = 1.0
            self.program.add(kind.weight, column)
        self._columns: dict[int, tuple[str, Picks]] = {}
        self._seen: set[tuple[str, Picks]] = set()

    def add(self, picks: Picks) -> bool:
        """Add what each model picks as a column of its own; whether any of them is new."""
        is_new = False
        for place, (model, members) in enumerate(self._members.items()):
            key = (model, tuple(picks[number] for number in members))
            if key not in self._seen:
                self._seen.add(key)
                self._columns[self._add(place, model, members, picks)] = (model, picks)
                is_new = True
        return is_new

    def _add(self, place: int, model: str, members: Sequence[int], picks: Picks) -> int:
        supply = [0] * self._market.goods
        cost = 0.0
        for number in members:
            group = self._groups[number]
            option = group.choices.option(picks[number])
            cost += option.cost * group.size
            for good, slices in option.supply:
                supply[good] += slices * group.size
        size = self._sizes[model]
        column = [-sum(supply[good] for good in one) / size for one in self._market.sets]
        column += [0.0] * (len(self._market.kinds) + len(self._sizes))
        column[self._first_size + place] = 1.0
        return self.program.add(-cost / size, column)

    def prices(self) -> tuple[float, ...]:
        """What one more slice of each good is worth."""
        rows = self.program.prices()
        return tuple(sum(rows[index] for index in which) for which in self._market.sets_of_good)

    def shares(self) -> dict[str, tuple[tuple[Picks, float], ...]]:
        """Shares of each model's GPUs in the present optimum."""
        found: dict[str, list[tuple[Picks, float]]] = {model: [] for model in self._sizes}
        for variable, value in self.program.solution().items():
            if variable in self._columns:
                model, picks = self._columns[variable]
                found[model].append((picks, value / self._sizes[model]))
        return {model: tuple(listed) for model, listed in found.items()}


def worth_of_demand(wanted: market.Market, prices: Sequence[float]) -> float:
    """What demand is worth beyond the prices of the slices it takes, the cheapest that it accepts."""
    return sum(
        kind.count * max(0.0, kind.weight - min(prices[good] for good in kind.accepts))
        for kind in wanted.kinds
    )


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
