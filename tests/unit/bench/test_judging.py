"""How runs on the real Triton are judged."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from gpufleet.sim import pods as simulated
from tests.bench.real import fleet, judging
from tests.bench.real.judging import Answer, Interval


def busy(second: int, count: int, late: int, failed: int = 0) -> list[Answer]:
    """So many requests in a second, of which some are late and some fail."""
    took_s = [9.0] * late + [math.inf] * failed
    took_s += [0.5] * (count - len(took_s))
    return [Answer(second + number / count, took) for number, took in enumerate(took_s)]


@pytest.mark.parametrize(
    ("answers", "violated"),
    [
        pytest.param([], set(), id="nobody asks"),
        pytest.param(busy(3, 10, 0), set(), id="all in time"),
        pytest.param(busy(3, 10, 1), {3}, id="one of ten is late"),
        pytest.param(busy(3, 10, 0, failed=1), {3}, id="one of ten fails"),
        pytest.param(busy(3, 200, 2), set(), id="one in a hundred may"),
        pytest.param(busy(3, 200, 3), {3}, id="more may not"),
        pytest.param(busy(3, 5, 5) + busy(4, 5, 0) + busy(5, 5, 2), {3, 5}, id="second by second"),
        pytest.param(busy(1, 5, 5) + busy(10, 5, 5), set(), id="outside the run"),
    ],
)
def test_violated_seconds(answers: list[Answer], violated: set[int]) -> None:
    assert judging.find_violated(answers, 1.0, 2.0, 10.0) == violated


COURSE = [Interval(0.0, 1, 1), Interval(4.0, 1, 3), Interval(6.0, 3, 3), Interval(9.0, 2, 2)]


@pytest.mark.parametrize(
    ("intervals", "from_s", "until_s", "held_s", "changes"),
    [
        pytest.param([], 0.0, 10.0, 0.0, 0, id="nothing"),
        pytest.param(COURSE, 0.0, 10.0, 17.0, 2, id="all"),
        pytest.param(COURSE, 5.0, 7.0, 4.0, 0, id="a part"),
        pytest.param(COURSE, 8.0, 20.0, 25.0, 0, id="what is there last stays"),
    ],
)
def test_what_servers_held(
    intervals: Sequence[Interval], from_s: float, until_s: float, held_s: float, changes: int
) -> None:
    assert judging.integrate(intervals, from_s, until_s) == held_s
    assert judging.count_changes(intervals, from_s, until_s) == changes


def test_a_rate_of_what_is_linear_in_counters() -> None:
    found = fleet.Rates({"a": simulated.Counters(0.0, success=9.0, rejected=1.0, queue_s=3.0)})
    assert found.rate("a", lambda one: one.success + one.rejected, 60.0, 0.0) == 10.0
    assert found.rate("b", lambda one: one.success, 60.0, 0.0) is None
    assert not found.is_blind(0.0)
