"""Periods that are there are found, and those that are not are not."""

from __future__ import annotations

import array
import math
import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpufleet.decide.autoscaling import season
from tests.unit.gpufleet.decide.autoscaling import loads

GAP = math.nan


def pack(values: Sequence[float]) -> bytes:
    return array.array("f", values).tobytes()


def on_off(minute: int) -> float:
    return 100.0 if minute % 40 < 20 else 0.0


def both(minute: int) -> float:
    return loads.daily(minute) + loads.hourly_batch(minute)


def gapped(values: list[float]) -> list[float]:
    return [GAP if minute % 7 == 3 else value for minute, value in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "current", "expected"),
    [
        pytest.param([], 0, 0, id="nothing"),
        pytest.param([1.0], 0, 0, id="one bin"),
        pytest.param([GAP] * 500, 0, 0, id="no evidence"),
        pytest.param([3.0] * 500, 0, 0, id="constant"),
        pytest.param(loads.make(loads.ramp, 500), 0, 0, id="ramp"),
        pytest.param(loads.make(loads.hourly_batch, 119), 0, 0, id="not twice yet"),
        pytest.param(loads.make(loads.hourly_batch, 180), 0, 60, id="hourly"),
        pytest.param(loads.make(loads.hourly_batch, 1000, 0.2), 0, 60, id="hourly in noise"),
        pytest.param(gapped(loads.make(loads.hourly_batch, 1000)), 0, 60, id="hourly with gaps"),
        pytest.param(loads.make(on_off, 400), 0, 40, id="on and off"),
        pytest.param(loads.make(both, loads.DAY), 0, 60, id="hourly within a day"),
        pytest.param(loads.make(loads.hourly_batch, 1000), 120, 120, id="one in use stays"),
        pytest.param(loads.make(loads.hourly_batch, 1000), 90, 60, id="one in use that is wrong goes"),
        pytest.param(loads.make(loads.daily, loads.DAY - 1), 0, 0, id="less than a day"),
        pytest.param(loads.make(loads.daily, loads.DAY + 1, 0.1), 0, 1440, id="more than a day"),
        pytest.param(loads.make(loads.daily, 2 * loads.DAY, 0.1), 0, 1440, id="two days"),
        pytest.param(loads.make(lambda _: 100.0, 1000, 0.2), 0, 0, id="noise"),
    ],
)
def test_periods(values: list[float], current: int, expected: int) -> None:
    assert season.find_period(pack(values), loads.DAY, current) == expected


@pytest.mark.parametrize(
    ("values", "period", "ahead", "expected"),
    [
        pytest.param([], 30, 15, None, id="nothing"),
        pytest.param([5.0] * 10, 30, 15, None, id="less than a period"),
        pytest.param([float(one) for one in range(40)], 30, 1, 10.0, id="one period"),
        pytest.param([float(one) for one in range(40)], 30, 0, 9.0, id="of the newest bin"),
        pytest.param([float(one) for one in range(70)], 30, 1, 25.0, id="two periods"),
        pytest.param([float(one) for one in range(300)], 30, 1, 225.0, id="the newest four"),
        pytest.param([GAP] * 40 + [1.0] * 30, 30, 1, 1.0, id="a gap is not counted"),
        pytest.param([GAP] * 70, 30, 1, None, id="only gaps"),
        pytest.param(
            [0.0] * 4 + [13.0] + [0.0] * 1000, 720, 720 - 1000, 13 / 7, id="long ones to both sides"
        ),
    ],
)
def test_what_earlier_periods_say(
    values: list[float], period: int, ahead: int, expected: float | None
) -> None:
    assert season.read(pack(values), period, ahead) == expected


def noisy(course: Callable[[int], float]) -> list[float]:
    """With a standard deviation of 5."""
    rng = random.Random(1)
    return [course(minute) + rng.gauss(0.0, 5.0) for minute in range(200)]


@pytest.mark.parametrize("ahead", [1, 2, 5])
@pytest.mark.parametrize(
    "course",
    [
        pytest.param(lambda minute: 100.0, id="constant"),
        pytest.param(lambda minute: 10.0 * minute, id="a trend"),
        pytest.param(lambda minute: 20.0 * min(minute, 170), id="a trend that has ended"),
        pytest.param(lambda minute: 5000 - 20.0 * max(minute, 170), id="a trend that has begun"),
        pytest.param(lambda minute: 500.0 if minute % 60 < 30 else 100.0, id="leaps"),
        pytest.param(lambda minute: 1000.0 - 500 * math.cos(minute / 30), id="a wave"),
    ],
)
def test_scatter_is_that_of_the_noise(course: Callable[[int], float], ahead: int) -> None:
    found = season.measure_scatter(pack(noisy(course)), ahead)
    assert found is not None
    assert 3.0 < found < 8.0


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param([1.0] * 6, None, id="too few"),
        pytest.param([1.0] * 9, 0.0, id="enough"),
        pytest.param([1.0, GAP] * 40, 0.0, id="gaps"),
        pytest.param([GAP] * 80, None, id="only gaps"),
    ],
)
def test_scatter_of_little(values: list[float], expected: float | None) -> None:
    assert season.measure_scatter(pack(values), 2) == expected


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.floats(0, 2.0**39, width=32) | st.just(GAP), max_size=400),
    st.integers(0, 2000),
    st.integers(0, 400),
)
def test_any_load(values: list[float], day: int, current: int) -> None:
    period = season.find_period(pack(values), day, current)
    assert period == 0 or season.SHORTEST <= period <= max(len(values) // 2, day)
    if period:
        found = season.read(pack(values), period, 15)
        assert found is None or 0 <= found <= max(one for one in values if one == one)
