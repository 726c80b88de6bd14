"""Loads from before a restart go on where they ended, and only for the service that had them."""

from __future__ import annotations

import datetime
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet.api import triton_service
from gpufleet.decide.autoscaling import behavior, forecast, memories, recall
from tests import builders_api

START = 1_000_000 * 60
"""Seconds since the epoch; a whole minute."""


def points(loads: list[float], first: int = 0) -> list[tuple[float, float]]:
    """Each at the end of its minute."""
    return [(START + 60.0 * (first + number + 1), load) for number, load in enumerate(loads)]


def seen(loads: list[float | None], first: int = 0) -> forecast.History:
    """What looks have shown, four in a minute; the last minute is open."""
    history = forecast.History(look_at=7)
    for number, load in enumerate(loads):
        for second in (5, 20, 35, 50):
            history = history.note(load, START + 60.0 * (first + number) + second)
    return history


def read(history: forecast.History) -> list[float | None]:
    """Closed bins."""
    return [None if math.isnan(one) else one for one in memoryview(history.loads).cast("f")]


@pytest.mark.parametrize(
    ("past", "own", "expected"),
    [
        pytest.param([1.0, 2.0, 3.0], seen([5.0, 6.0], 3), [1, 2, 3, 5], id="goes on"),
        pytest.param([1.0, 2.0], seen([5.0, 6.0], 4), [1, 2, None, None, 5], id="with a gap between"),
        pytest.param([1.0, 2.0, 3.0], seen([9.0, 5.0, 6.0], 2), [1, 2, 3, 5], id="the past knows it better"),
        pytest.param([1.0, 2.0, 3.0], seen([6.0], 2), [1, 2], id="its last minute is still open"),
        pytest.param([1.0, 2.0], seen([None, 6.0], 2), [1, 2, None], id="without evidence since"),
        pytest.param([1.0, 2.0], forecast.History(), [1], id="nothing seen since"),
    ],
)
def test_joined(past: list[float], own: forecast.History, expected: list[float | None]) -> None:
    assert read(recall.join(recall.build(points(past)), own)) == expected


@given(st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=90), st.integers(1, 30))
def test_as_if_there_had_been_no_restart(loads: list[float], cut: int) -> None:
    """All that is kept of it: loads, judged forecasts, the open bin."""
    whole = seen(list(loads))
    cut = min(cut, len(loads) - 1)
    joined = recall.join(recall.build(points(loads[:cut])), seen(list(loads[cut:]), cut))
    if cut:
        assert joined.loads == pytest.approx(whole.loads)
        assert (joined.index, joined.last, joined.count, joined.look_at) == (
            whole.index,
            whole.last,
            whole.count,
            whole.look_at,
        )
        assert joined.total == whole.total


def daily(minutes: int) -> list[float]:
    return [50 + 40 * math.sin(2 * math.pi * minute / 1440) + minute % 3 for minute in range(minutes)]


def test_a_day_that_repeats_is_known_at_once() -> None:
    """Two days of it, of which the newest hours are judged."""
    found = recall.build(points(daily(2880)))
    ahead = forecast.predict(found, 600.0, START + 2880 * 60.0)
    assert ahead is not None
    assert (found.track.period, ahead.method) == (1440, "Seasonal")


@pytest.mark.parametrize("minutes", [1, 360, 361, 2000, 2880, 3000])
def test_older_loads_are_those_that_came(minutes: int) -> None:
    """Gaps included, and no more than a history holds."""
    came = [one for one in points(daily(minutes)) if one[0] // 60 % 50 or minutes == 1]
    whole = forecast.History()
    for at_s, value in came:
        whole = whole.note(value, at_s - 30)
    found = recall.build(came)
    assert read(found) == pytest.approx(read(whole))
    assert (found.index, found.last, found.highest) == (whole.index, whole.last, whole.highest)


def service(created_s: float) -> triton_service.TritonService:
    raw = builders_api.make_service("vision", "team")
    created = datetime.datetime.fromtimestamp(created_s, datetime.UTC).isoformat()
    raw["metadata"] |= {"uid": "u", "creationTimestamp": created}
    return triton_service.TritonService.model_validate(raw)


@pytest.mark.parametrize(
    ("created_s", "key", "bins"),
    [
        pytest.param(START - 1000, ("team", "vision"), 4, id="its own"),
        pytest.param(START + 30, ("team", "vision"), 4, id="made within the first minute"),
        pytest.param(START + 90, ("team", "vision"), 0, id="one of the same name was there before"),
        pytest.param(START - 1000, ("other", "vision"), 0, id="of another namespace"),
        pytest.param(START - 1000, ("team", "vision-2"), 0, id="of another service"),
    ],
)
def test_whose_past_it_is(created_s: float, key: recall.ServiceKey, bins: int) -> None:
    own = memories.Remembered(behavior.Memory(since_s=START), 1, forecast.History(index=START // 60 + 4))
    past = {key: recall.build(points([1.0, 2.0, 3.0, 4.0]))}
    found = recall.recall({"u": own, "gone": own}, [service(created_s)], past)
    assert len(read(found["u"].history)) == bins
    assert found["u"].windows == own.windows
    assert found["gone"] == own
