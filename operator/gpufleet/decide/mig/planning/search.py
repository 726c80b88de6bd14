"""Improves a choice of options step by step until no single GPU, and in small fleets no pair, does better.

A choice is worth the weighted demand that it serves less what its blackouts cost. The work is counted, not
timed, so that equal input gives equal plans.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gpufleet.decide.mig.planning import market, prices

_EPSILON = 1e-9
TURNS = 4

Counts = dict[tuple[int, int], int]
"""GPUs by (group, option)."""


class Choice:
    """Which option how many GPUs of each group take; knows what it is worth."""

    def __init__(
        self, wanted: market.Market, groups: Sequence[prices.Group], counts: Counts | None = None
    ) -> None:
        self.market = wanted
        self.groups = groups
        self.counts: Counts = counts or {
            (number, 0): group.size for number, group in enumerate(groups) if group.size
        }
        self.supply = [0] * wanted.goods
        self.cost = 0.0
        for (group, option), count in self.counts.items():
            found = groups[group].choices.option(option)
            self.cost += found.cost * count
            for good, slices in found.supply:
                self.supply[good] += slices * count
        self._worths = [wanted.worth_of_part(part, self.supply) for part in range(len(wanted.parts))]
        self.evaluations = 0

    @property
    def served(self) -> float:
        """Weighted, running slices included."""
        return sum(self._worths)

    @property
    def worth(self) -> float:
        return self.served - self.cost

    def copy(self) -> Choice:
        return Choice(self.market, self.groups, dict(self.counts))

    def gain(self, steps: Iterable[tuple[int, int, int]], count: int = 1) -> float:
        """What it would gain if `count` GPUs each did these steps: (group, option now, option then)."""
        self.evaluations += 1
        change: dict[int, int] = {}
        cost = 0.0
        for group, now, then in steps:
            choices = self.groups[group].choices
            before, after = choices.option(now), choices.option(then)
            cost += after.cost - before.cost
            for good, slices in before.supply:
                change[good] = change.get(good, 0) - slices
            for good, slices in after.supply:
                change[good] = change.get(good, 0) + slices
        return self._worth_of(change, count) - cost * count

    def _worth_of(self, change: dict[int, int], count: int) -> float:
        supply, part_of_good = self.supply, self.market.part_of_good
        parts = set()
        for good, slices in change.items():
            if slices:
                parts.add(part_of_good[good])
                supply[good] += slices * count
        gained = 0.0
        for part in sorted(parts):
            gained += self.market.worth_of_part(part, supply) - self._worths[part]
        for good, slices in change.items():
            supply[good] -= slices * count
        return gained

    def step(self, group: int, now: int, then: int, count: int = 1) -> None:
        """Let `count` GPUs of a group go from one option to another."""
        choices = self.groups[group].choices
        before, after = choices.option(now), choices.option(then)
        self.cost += (after.cost - before.cost) * count
        for good, slices in before.supply:
            self.supply[good] -= slices * count
        for good, slices in after.supply:
            self.supply[good] += slices * count
        for good in {good for option in (before, after) for good, _ in option.supply}:
            part = self.market.part_of_good[good]
            self._worths[part] = self.market.worth_of_part(part, self.supply)
        self._count(group, now, -count)
        self._count(group, then, count)

    def _count(self, group: int, option: int, change: int) -> None:
        count = self.counts.get((group, option), 0) + change
        if count:
            self.counts[group, option] = count
        else:
            self.counts.pop((group, option), None)

    def marginals(self) -> tuple[prices.Worths, prices.Worths]:
        """What one more slice of each good is worth, and what one less; both overrate every step.

        So it is with values of matroids, which have substitutes only: these are the least and the greatest
        prices at which this supply is what demand would buy (Gul and Stacchetti, 1999).
        """
        more, less = [], []
        for good, part in enumerate(self.market.part_of_good):
            more.append(self._worth_of({good: 1}, 1))
            heaviest = max(kind.weight for kind in self.market.parts[part].kinds)
            less.append(-self._worth_of({good: -1}, 1) if self.supply[good] else heaviest)
        return prices.Worths(more), prices.Worths(less)


def improve(choice: Choice, budget: int, only: Iterable[int] | None = None) -> None:
    """Best single steps first, as often as they pay; `only` looks at these groups."""
    groups = None if only is None else set(only)
    end = choice.evaluations + budget
    while choice.evaluations < end:
        found = []
        at = choice.marginals()
        for group, now in sorted(choice.counts):
            if groups is not None and group not in groups:
                continue
            if choice.evaluations >= end:
                break
            gain, then = _best_step(choice, group, now, at)
            if gain > _EPSILON:
                found.append((-round(gain, 6), choice.groups[group].room, group, now, then))
        taken = [_take(choice, group, now, then) for _, _, group, now, then in sorted(found)]
        if not any(taken):
            return


def _best_step(choice: Choice, group: int, now: int, at: Sequence[prices.Worths]) -> tuple[float, int]:
    """The option that gains most, and how much; those that cannot gain by any of the prices are passed by."""
    choices = choice.groups[group].choices
    present = choices.option(now)
    limits = [worths.of(present.supply) - present.cost + _EPSILON for worths in at]
    best = (0.0, now)
    if now and choice.gain([(group, now, 0)]) > _EPSILON:
        best = (choice.gain([(group, now, 0)]), 0)
    for first, variant in zip(choices.firsts, choices.variants, strict=False):
        bases = [worths.of(variant.base) - variant.cost for worths in at]
        least = [limit - base for limit, base in zip(limits, bases, strict=True)]
        if any(worths.best_of(variant.table)[0] <= one for worths, one in zip(at, least, strict=True)):
            continue
        tables = [worths.of_table(variant.table) for worths in at]
        for entry, (more, less) in enumerate(zip(*tables, strict=True)):
            if more > least[0] and less > least[1] and first + entry != now:
                gain = choice.gain([(group, now, first + entry)])
                if gain > best[0] + _EPSILON:
                    best = (gain, first + entry)
    return best


def _take(choice: Choice, group: int, now: int, then: int) -> bool:
    """As many GPUs as gain by it, found by doubling: each further one gains no more than the last."""
    there = choice.counts.get((group, now), 0)
    taken = 0
    size = 1
    while there - taken > 0:
        size = min(size, there - taken)
        each = choice.gain([(group, now, then)])
        if each <= _EPSILON:
            break
        # Where all of them together gain as much as the first one each, none of them comes too late.
        while size > 1 and choice.gain([(group, now, then)], size) < each * size - _EPSILON * size:
            size //= 2
        choice.step(group, now, then, size)
        taken += size
        size *= 2
    return taken > 0


def improve_pairs(choice: Choice, relaxed: prices.Relaxed, budget: int) -> None:
    """Two GPUs at once, for what no single step reaches: one gives up what the other then takes on.

    Options that lose more at the prices of the relaxed optimum than the bound is away are in no better
    choice, and are left out.
    """
    end = choice.evaluations + budget
    found = True
    while found and choice.evaluations < end:
        found = False
        useful = _find_useful(choice, relaxed)
        entries = sorted(choice.counts)
        for place, first in enumerate(entries):
            for second in entries[place:]:
                if choice.evaluations >= end:
                    return
                if _take_pair(choice, first, second, useful):
                    found = True


def _find_useful(choice: Choice, relaxed: prices.Relaxed) -> list[list[int]]:
    """Options of each group that a better choice may have."""
    at = prices.Worths(relaxed.bound.prices)
    away = relaxed.bound.value - choice.worth
    useful = []
    for group in choice.groups:
        worths = [at.of(option.supply) for option in group.choices.all]
        most = max(worths)
        useful.append(
            [
                number
                for number, (worth, option) in enumerate(zip(worths, group.choices.all, strict=True))
                if most - worth + option.cost < away
            ]
        )
    return useful


def _take_pair(
    choice: Choice, first: tuple[int, int], second: tuple[int, int], useful: Sequence[Sequence[int]]
) -> bool:
    if first not in choice.counts or second not in choice.counts:
        return False
    if first == second and choice.counts[first] < 2:
        return False
    best: tuple[float, int, int] | None = None
    for one in useful[first[0]]:
        for other in useful[second[0]]:
            if (one, other) == (first[1], second[1]):
                continue
            gain = choice.gain([(*first, one), (*second, other)])
            if gain > (best[0] if best else 0.0) + _EPSILON:
                best = (gain, one, other)
    if best is None:
        return False
    choice.step(*first, best[1])
    choice.step(*second, best[2])
    return True


def round_shares(groups: Sequence[prices.Group], relaxed: prices.Relaxed, turn: int = 0) -> Counts:
    """Whole GPUs for shares of a model: each has a credit, and who has most of it takes the next GPU.

    Every `turn` begins at another group, and so rounds otherwise.
    """
    credits = {model: [0.0] * len(shares) for model, shares in relaxed.shares.items()}
    counts: Counts = {}
    first = turn * len(groups) // TURNS
    for number, group in (*enumerate(groups[first:], first), *enumerate(groups[:first])):
        shares, credit = relaxed.shares.get(group.model, ()), credits.get(group.model, [])
        left = group.size
        for index, (picks, share) in enumerate(shares):
            whole = min(left, int(share * group.size))
            credit[index] += share * group.size - whole
            left -= whole
            _add(counts, (number, picks[number]), whole)
        for _ in range(left):
            index = credit.index(max(credit)) if credit else -1
            if index >= 0:
                credit[index] -= 1.0
            _add(counts, (number, shares[index][0][number] if index >= 0 else 0), 1)
    return counts


def _add(counts: Counts, key: tuple[int, int], number: int) -> None:
    if number:
        counts[key] = counts.get(key, 0) + number


def gap(choice: Choice, bound: prices.Bound) -> float:
    """How far from the bound, as a share of it; running slices, which all plans serve, do not count."""
    most = bound.value - choice.market.running
    return max(0.0, bound.value - choice.served) / most if most > 0 else 0.0
