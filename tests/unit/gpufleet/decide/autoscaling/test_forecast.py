"""Which method is believed, and that nothing in a load or in a clock makes a forecast absurd."""

from __future__ import annotations

import collections
import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpufleet.decide.autoscaling import backtest, forecast
from tests.unit.gpufleet.decide.autoscaling import loads

START_S = loads.START_S
BIN_BYTES = 4


def forecast_all(
    values: Sequence[float | None], horizon_s: float, skip: int = 0
) -> list[tuple[int, forecast.Forecast]]:
    """What is foreseen at every minute from `skip` on."""
    found = []
    history = loads.note(values[:skip])
    for minute, value in list(enumerate(values))[skip:]:
        now_s = START_S + 60 * minute + 30
        history = history.note(value, now_s)
        one = forecast.predict(history, horizon_s, now_s)
        if one is not None:
            found.append((minute, one))
    return found


def compare(values: Sequence[float], horizon_s: float, skip: int) -> tuple[float, collections.Counter[str]]:
    """The share of the last value's loss that is left, and how often each method was believed."""
    ahead = math.ceil(horizon_s / 60)
    ours = last = 0.0
    methods: collections.Counter[str] = collections.Counter()
    for minute, one in forecast_all(values, horizon_s, skip):
        then = values[minute + 1 : minute + 1 + ahead]
        if len(then) == ahead:
            ours += backtest.lose(one.value, max(then))
            last += backtest.lose(values[minute], max(then))
            methods[one.method] += 1
    return ours / last, methods


@pytest.mark.parametrize(
    ("values", "horizon_s", "method"),
    [
        pytest.param(loads.make(loads.constant, 400), 180, "LastValue", id="constant"),
        pytest.param(loads.make(loads.ramp, 20), 180, "LastValue", id="too short to tell"),
        pytest.param(loads.make(loads.ramp, 300), 180, "Trend", id="ramp"),
        pytest.param(loads.make(loads.ramp, 300), 900, "Trend", id="ramp, far"),
        pytest.param(loads.make(loads.ramp, 200, 0.05), 600, "Trend", id="noisy ramp"),
        pytest.param(loads.make(loads.hourly_batch, 600), 60, "Seasonal", id="hourly batches"),
        pytest.param(loads.make(loads.hourly_batch, 600, 0.1), 300, "Seasonal", id="noisy hourly batches"),
        pytest.param(loads.make(loads.daily, 2 * loads.DAY + 360), 300, "Seasonal", id="days"),
        pytest.param(loads.make(loads.office, 2 * loads.DAY + 540, 0.05), 300, "Seasonal", id="office days"),
    ],
)
def test_who_is_believed(values: list[float], horizon_s: float, method: str) -> None:
    found = forecast.predict(loads.note(values), horizon_s, loads.end_s(values))
    assert found is not None
    assert found.method == method
    if method == "LastValue":
        assert found.value == values[-1]
    else:
        assert found.error is not None
        assert found.baseline_error is not None
        assert found.error < forecast.MARGIN * found.baseline_error


@pytest.mark.parametrize(
    ("values", "horizon_s", "skip", "left"),
    [
        pytest.param(loads.make(loads.ramp, 300), 300, 0, 0.65, id="ramp"),
        pytest.param(loads.make(loads.daily, 2 * loads.DAY + 700), 300, 2 * loads.DAY, 0.4, id="days"),
        pytest.param(
            loads.make(loads.office, 2 * loads.DAY + 700, 0.05), 300, 2 * loads.DAY, 0.9, id="office days"
        ),
        pytest.param(loads.make(loads.hourly_batch, 720, 0.05), 180, 240, 0.2, id="hourly batches"),
    ],
)
def test_what_it_wins(values: list[float], horizon_s: float, skip: int, left: float) -> None:
    assert compare(values, horizon_s, skip)[0] <= left


@pytest.mark.parametrize("horizon_s", [60, 180, 300, 900])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_is_neither_trend_nor_season(horizon_s: float, seed: int) -> None:
    values = loads.make(lambda _: 100.0, 800, 0.2, seed)
    assert set(compare(values, horizon_s, 0)[1]) == {"LastValue"}


@pytest.mark.parametrize(
    ("horizon_s", "minutes"),
    [
        pytest.param(0.0, 1, id="none is one bin"),
        pytest.param(-5.0, 1, id="less than none"),
        pytest.param(61.0, 2, id="begun bins count"),
        pytest.param(900.0, 15, id="the farthest"),
        pytest.param(86_400.0, 15, id="beyond"),
        pytest.param(math.inf, 15, id="for ever"),
    ],
)
def test_the_horizon_in_bins(horizon_s: float, minutes: int) -> None:
    values = loads.make(loads.ramp, 300)
    history, now_s = loads.note(values), loads.end_s(values)
    assert forecast.predict(history, horizon_s, now_s) == forecast.predict(history, 60.0 * minutes, now_s)


def test_nothing_seen_is_nothing_foreseen() -> None:
    assert forecast.predict(loads.note([None, math.nan, -1.0, math.inf, 1e300]), 180, START_S) is None


def test_a_gap_is_no_zero() -> None:
    values: list[float | None] = [50.0] * 100
    values[40:50] = [None] * 10
    for _, one in forecast_all(values, 180):
        assert one.value == 50.0


def test_a_bin_is_the_mean_of_its_samples() -> None:
    history = forecast.History()
    for now_s, value in ((0.0, 1.0), (20.0, None), (40.0, 3.0), (60.0, 9.0)):
        history = history.note(value, now_s)
    assert memoryview(history.loads).cast("f").tolist() == [2.0]


@pytest.mark.parametrize(
    ("jump_s", "known", "bins"),
    [
        pytest.param(60.0, 100, 100, id="none"),
        pytest.param(660.0, 100, 110, id="a gap"),
        pytest.param(7200.0, 100, 219, id="a long gap"),
        pytest.param(1e9, 0, forecast.BINS, id="beyond all that is remembered"),
        pytest.param(-300.0, 99, 99, id="a little back is waited for"),
        pytest.param(-1800.0, 69, 69, id="what was after the new time goes"),
        pytest.param(-1e9, 0, 0, id="before everything"),
        pytest.param(math.inf, 99, 99, id="no time at all"),
    ],
)
def test_clocks_that_jump(jump_s: float, known: int, bins: int) -> None:
    values = loads.make(loads.ramp, 100)
    history = loads.note(values).note(7.0, loads.end_s(values) + jump_s)
    kept = memoryview(history.loads).cast("f").tolist()
    assert (len(kept), sum(not math.isnan(one) for one in kept)) == (bins, known)
    found = forecast.predict(history, 180, loads.end_s(values) + jump_s)
    assert found is not None
    assert math.isfinite(found.value)


def test_life_goes_on_after_a_clock_went_back() -> None:
    history = loads.note(loads.make(loads.ramp, 300))
    again = loads.make(loads.ramp, 120)
    for minute, value in enumerate(again):
        history = history.note(value, START_S - 86_400 + 60 * minute)
    assert len(history.loads) == BIN_BYTES * (len(again) - 1)
    found = forecast.predict(history, 300, START_S - 86_400 + 60 * len(again) - 60)
    assert found is not None
    assert again[-1] < found.value < again[-1] + 5


def test_two_days_and_no_more() -> None:
    values = loads.make(loads.daily, forecast.BINS + 500)
    history = loads.note(values)
    assert len(history.loads) == BIN_BYTES * forecast.BINS
    assert memoryview(history.loads).cast("f")[-1] == pytest.approx(values[-2])


def test_a_stale_forecast_falls_back_to_the_last_value() -> None:
    values = loads.make(loads.ramp, 300)
    found = forecast.predict(loads.note(values), 300, loads.end_s(values) + 3600)
    assert found is not None
    assert (found.method, found.value) == ("LastValue", values[-1])


def test_a_trend_does_not_run_away() -> None:
    values = [1.02**minute for minute in range(300)]
    for minute, one in forecast_all(values, 900):
        assert one.value <= forecast.GROWTH * values[minute]


def test_where_it_looks_for_a_period_is_the_callers() -> None:
    values = loads.make(loads.hourly_batch, 240)
    early, late = (loads.note(values, forecast.History(look_at=one)) for one in (5, 45))
    assert (early.track.period, late.track.period) == (60, 60)
    assert early.loads == late.loads


steps = st.tuples(
    st.floats(allow_nan=True, allow_infinity=True) | st.floats(0, 1e4) | st.none(),
    st.sampled_from([0.0, 15.0, 60.0, 61.0, 600.0, 3600.0, -15.0, -600.0, -7200.0, 1e7, -1e7])
    | st.floats(-1e15, 1e15),
)


@settings(deadline=None)
@given(st.lists(steps, max_size=60), st.floats(allow_nan=False), st.sampled_from([1.0, 60.0, 3600.0]))
def test_any_load_and_any_clock(
    said: list[tuple[float | None, float]], horizon_s: float, bin_s: float
) -> None:
    history, now_s = forecast.History(bin_s=bin_s), START_S
    most = max((value for value, _ in said if value is not None and 0 <= value <= 1e12), default=0.0)
    for value, later_s in said:
        now_s += later_s
        history = history.note(value, now_s)
        assert len(history.loads) <= BIN_BYTES * forecast.BINS
        found = forecast.predict(history, horizon_s, now_s)
        if found is not None:
            assert math.isfinite(found.value)
            assert 0 <= found.value <= forecast.GROWTH * most


@settings(deadline=None, max_examples=30)
@given(
    st.floats(0, 1e6), st.integers(1, 300), st.floats(1, 1200), st.lists(st.integers(0, 299), max_size=100)
)
def test_a_constant_is_foreseen_exactly(
    value: float, minutes: int, horizon_s: float, gaps: list[int]
) -> None:
    values = [None if minute in gaps and minute else value for minute in range(minutes)]
    found = forecast.predict(loads.note(values), horizon_s, loads.end_s(values))
    assert found is not None
    assert (found.method, found.value) == ("LastValue", value)
