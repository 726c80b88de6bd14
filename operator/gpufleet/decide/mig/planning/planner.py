"""Plans MIG layouts for a fleet: what to change so that the demand that waits finds slices (design 0004)."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Iterable, Sequence

from gpufleet.decide.mig.planning import book, exact, explain, fleet, market, prices, search, values

_CLOSE = 0.002
"""Share of the bound within which a plan is good enough to look no further."""
_EPSILON = 1e-9
_ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True, slots=True)
class Effort:
    """How much work a plan may take, in steps tried. No clock counts."""

    large_from: int = 1_000
    """GPUs from which a fleet is large: fewer options, no pairs, no exact search."""
    steps: int = 60_000
    pairs: int = 30_000
    exact: int = 150_000
    replan: int = 1_000


def plan(
    gpus: Iterable[values.Gpu],
    demands: Sequence[values.Demand],
    policy: values.Policy | None = None,
    effort: Effort | None = None,
) -> values.Plan:
    """What to change. GPUs that the plan does not name stay as they are."""
    return Planner(gpus, demands, policy, effort).plan()


class Planner:
    """A plan that can follow changes of single nodes."""

    def __init__(
        self,
        gpus: Iterable[values.Gpu],
        demands: Sequence[values.Demand],
        policy: values.Policy | None = None,
        effort: Effort | None = None,
    ) -> None:
        self._policy = policy or values.Policy()
        self._effort = effort or Effort()
        self._demands = tuple(demands)
        self._nodes: dict[str, list[values.Gpu]] = collections.defaultdict(list)
        for gpu in gpus:
            self._nodes[gpu.node].append(gpu)
        self._start()

    def _start(self) -> None:
        gpus = [gpu for node in self._nodes.values() for gpu in node]
        self._models = {gpu.model.name: gpu.model for gpu in gpus}
        self._running = collections.Counter(fleet.count_running(gpus))
        self._market = self._open_market()
        is_large = len(gpus) >= self._effort.large_from
        forecast = dict(self._policy.forecast) or mix(self._demands)
        self._fleet = fleet.Fleet(self._market, self._policy, forecast, gpus, is_large=is_large)
        self._is_large = is_large
        self._bound = prices.trivial_bound(self._market)
        self._book = book.Book(self._market, self._fleet, self._policy, forecast)

    def _open_market(self) -> market.Market:
        models = [self._models[name] for name in sorted(self._models)]
        return market.Market(models, self._demands, self._running)

    def plan(self) -> values.Plan:
        """The plan for the fleet as it is now."""
        self._choice = self._solve()
        self._book.follow(self._choice.counts)
        return self._write()

    def replace_node(self, node: str, gpus: Sequence[values.Gpu]) -> values.Plan:
        """The plan after one node changed; what was planned for others stands as far as it still pays.

        All is planned anew where the node brings slices of a sort that the fleet did not have.
        """
        before = self._nodes.pop(node, [])
        if gpus:
            self._nodes[node] = list(gpus)
        running = collections.Counter(self._running)
        running.subtract(fleet.count_running(before))
        running.update(fleet.count_running(gpus))
        # Slices that ran once stay listed with none, so that the market trades the same goods.
        self._running = running
        if any(gpu.model.name not in self._models for gpu in gpus) or not self._reopen():
            self._start()
            return self.plan()
        self._exchange(before, gpus)
        return self._write()

    def _reopen(self) -> bool:
        """Take the market of today, if it trades the same goods."""
        now = self._open_market()
        if now.good_of != self._market.good_of or now.sets != self._market.sets:
            return False
        self._bound = self._bound.replace(self._market, now, (), ())
        self._market = now
        self._book.market = self._fleet.market = now
        return True

    def _exchange(self, before: Sequence[values.Gpu], after: Sequence[values.Gpu]) -> None:
        counts = collections.Counter(self._choice.counts)
        gone, come = [], []
        for gpu in before:
            number = self._fleet.number_of(gpu)
            counts[number, self._book.option_of(gpu)] -= 1
            self._book.remove(gpu, number)
            self._fleet.remove(gpu)
            gone.append(number)
        for gpu in after:
            number = self._fleet.add(gpu)
            self._book.add(gpu)
            counts[number, 0] += 1
            come.append(number)
        single = [[prices.Group(self._fleet.choices[one], 1) for one in numbers] for numbers in (gone, come)]
        self._bound = self._bound.replace(self._market, self._market, *single)
        self._choice = search.Choice(self._market, self._fleet.groups(), dict(+counts))
        search.improve(self._choice, self._effort.replan, come)
        if search.gap(self._choice, self._bound) > _CLOSE:
            search.improve(self._choice, self._effort.replan)
        self._book.follow(self._choice.counts)
        if self._market.worth(self._book.supply) < self._choice.served - _EPSILON:
            # What was left out as not needed is needed now.
            self._book.clear()
            self._book.follow(self._choice.counts)

    def _solve(self) -> search.Choice:
        """The best choice found; to stay as it is where nothing pays."""
        stay = search.Choice(self._market, self._fleet.groups())
        if self._market.wanted - stay.served <= _EPSILON:
            return stay
        choice = stay.copy()
        if not self._is_large:
            search.improve(choice, self._effort.steps)
        if self._market.wanted - choice.served > _EPSILON:
            relaxed = prices.relax(self._market, choice.groups, is_large=self._is_large)
            self._bound = relaxed.bound
            if search.gap(choice, relaxed.bound) > _CLOSE:
                choice = self._look_further(choice, relaxed)
            elif self._is_large:
                search.improve(choice, self._effort.steps)
        return choice if choice.worth > stay.worth + _EPSILON else stay

    def _look_further(self, found: search.Choice, relaxed: prices.Relaxed) -> search.Choice:
        """Other starts and more work, as long as the bound is far."""
        best = found
        for turn in range(1 if self._is_large else search.TURNS):
            if search.gap(best, relaxed.bound) <= _CLOSE:
                return best
            counts = search.round_shares(found.groups, relaxed, turn)
            one = search.Choice(self._market, found.groups, counts)
            search.improve(one, self._effort.steps)
            if not self._is_large:
                search.improve_pairs(one, relaxed, self._effort.pairs)
            if one.worth > best.worth + _EPSILON and self._market.keeps_running(one.supply):
                best = one
        if self._is_large and best is found:
            search.improve(best, self._effort.steps)
        if not self._is_large and search.gap(best, relaxed.bound) > _CLOSE:
            proven = exact.find_best(self._market, found.groups, relaxed, best.worth, self._effort.exact)
            best = search.Choice(self._market, found.groups, proven) if proven else best
        return best

    def _write(self) -> values.Plan:
        outcomes = self._market.outcomes(self._book.supply)
        without = sum(one.served * one.demand.weight for one in self._market.outcomes(self._book.kept))
        bound = max(0.0, self._bound.value - self._market.running)
        if all(float(one.weight).is_integer() for one in self._demands):
            # Sums of whole weights are whole.
            bound = float(math.floor(bound + _ROUNDING))
        changes = self._book.changes
        told = explain.changes_of(len(changes), self._book.nodes, self._book.moved)
        reason, message = explain.plan(told, outcomes, without, bound)
        return values.Plan(changes, outcomes, without, bound, reason, message)


def mix(demands: Iterable[values.Demand]) -> dict[str, float]:
    """The weighted demand by profile, as a forecast for want of a better one."""
    found: collections.Counter[str] = collections.Counter()
    for demand in demands:
        if demand.count > 0:
            found[demand.profile] += demand.count * demand.weight  # type: ignore[assignment]
    return dict(found)
