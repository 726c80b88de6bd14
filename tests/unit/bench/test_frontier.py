from __future__ import annotations

import pytest

from tests.bench import frontier
from tests.bench.frontier import Point

THEIRS = [Point(0, 20), Point(10, 10), Point(20, 8)]


def test_a_frontier_has_what_none_dominates() -> None:
    points = [Point(5, 9), Point(5, 8), Point(0, 10), Point(6, 8), Point(9, 1)]
    assert frontier.find(points) == [Point(0, 10), Point(5, 8), Point(9, 1)]


@pytest.mark.parametrize(
    ("point", "other", "is_dominated"),
    [
        pytest.param(Point(1, 2), Point(1, 2), False, id="equal"),
        pytest.param(Point(1, 2), Point(0, 2), True, id="fewer violations for as many hours"),
        pytest.param(Point(1, 2), Point(1, 1), True, id="fewer hours for as many violations"),
        pytest.param(Point(1, 2), Point(0, 3), False, id="fewer violations for more hours"),
    ],
)
def test_dominance(point: Point, other: Point, is_dominated: bool) -> None:
    assert point.is_dominated_by(other) == is_dominated


@pytest.mark.parametrize(
    ("violations", "hours"),
    [
        pytest.param(0, 20, id="at a point"),
        pytest.param(5, 15, id="between two"),
        pytest.param(99, 8, id="more than any point needs"),
    ],
)
def test_hours_between_points(violations: float, hours: float) -> None:
    assert frontier.hours_at(THEIRS, violations) == pytest.approx(hours)


def test_fewer_violations_than_any_point_have_no_price() -> None:
    assert frontier.hours_at(THEIRS[1:], 9) is None


@pytest.mark.parametrize(
    ("ours", "most", "saved"),
    [
        pytest.param([Point(0, 10)], 0, 0.5, id="at the fewest"),
        pytest.param([Point(0, 20), Point(10, 10)], 10, 0.0, id="the same"),
        pytest.param([Point(10, 12)], 5, -0.2, id="dearer, and later than asked"),
        pytest.param([], 5, None, id="no points"),
    ],
)
def test_saving(ours: list[Point], most: float, saved: float | None) -> None:
    found = frontier.find_saving(ours, THEIRS, most)
    assert found == (pytest.approx(saved) if saved is not None else None)
