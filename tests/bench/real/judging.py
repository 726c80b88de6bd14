"""What a run cost and gave: seconds beyond the objective, and what its servers held meanwhile."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """One request, due at a second of the run; one that failed took for ever; sent `lag_s` late."""

    due_s: float
    took_s: float
    lag_s: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Interval:
    """So many servers held a slice, and so many were wanted, from this second of the clock on."""

    at_s: float
    held: int
    wanted: int


def find_violated(answers: Iterable[Answer], objective_s: float, from_s: float, until_s: float) -> set[int]:
    """Seconds whose P99 (nearest rank) of the requests due in them is beyond the objective."""
    asked: dict[int, int] = defaultdict(int)
    within: dict[int, int] = defaultdict(int)
    for one in answers:
        if from_s <= one.due_s < until_s:
            asked[int(one.due_s)] += 1
            within[int(one.due_s)] += one.took_s <= objective_s
    return {second for second, count in asked.items() if within[second] < math.ceil(0.99 * count)}


def integrate(intervals: Sequence[Interval], from_s: float, until_s: float) -> float:
    """Seconds that servers held a slice."""
    ends = [one.at_s for one in intervals] + [math.inf]
    return sum(
        one.held * max(0.0, min(end_s, until_s) - max(one.at_s, from_s))
        for one, end_s in zip(intervals, ends[1:], strict=True)
    )


def count_changes(intervals: Sequence[Interval], from_s: float, until_s: float) -> int:
    """Of the number that was wanted."""
    numbers = [one.wanted for one in intervals if from_s <= one.at_s < until_s]
    return sum(before != after for before, after in itertools.pairwise(numbers))


def find_lag_s(answers: Sequence[Answer]) -> float:
    """By how much nine of ten requests were sent late at most: what the machine took, not a server."""
    lags = sorted(one.lag_s for one in answers)
    return lags[math.ceil(0.9 * len(lags)) - 1] if lags else math.nan
