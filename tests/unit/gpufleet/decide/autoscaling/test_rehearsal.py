from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet.decide.autoscaling import rehearsal

CAPACITY = 10.0


def pack(loads: Sequence[float]) -> bytes:
    return b"".join(struct.pack("f", one) for one in loads)


def choose(loads: Sequence[float], ahead: int = 1, confidence: float = 0.95) -> rehearsal.Choice:
    return rehearsal.choose(pack(loads), ahead, confidence, CAPACITY)


def spikes(every: int, bins: int = 240) -> list[float]:
    """Three bins high, the others low."""
    return [95.0 if one % every < 3 else 15.0 for one in range(bins)]


def ramp(step: float, bins: int = 120) -> list[float]:
    return [50.0 + step * one for one in range(bins)]


@pytest.mark.parametrize(
    ("loads", "ahead", "margin", "window"),
    [
        pytest.param([55.0] * 120, 1, 0.0, 2, id="a load that stays needs nothing"),
        pytest.param(ramp(0.4), 1, 0.03, 2, id="a slow rise needs a little"),
        pytest.param(spikes(8), 1, 0.0, 5, id="what comes back soon is waited for"),
        pytest.param(spikes(40), 1, 0.0, 2, id="what comes back late is not"),
        pytest.param([math.nan] * 240, 1, 0.1, 5, id="no evidence"),
        pytest.param([55.0] * 20, 1, 0.1, 5, id="too little of it"),
        pytest.param([math.nan, 55.0] * 60, 1, 0.0, 2, id="with gaps"),
    ],
)
def test_choice(loads: list[float], ahead: int, margin: float, window: int) -> None:
    found = choose(loads, ahead)
    assert (found.margin, found.window) == (margin, window)


def test_a_slower_start_takes_more() -> None:
    rising = ramp(2.0)
    assert choose(rising, 5).spare > choose(rising, 1).spare


@pytest.mark.parametrize(
    ("loads", "provided"),
    [
        # Two bins and a start of one bring 6 at any height, which is two thirds of a server.
        pytest.param(ramp(2.0), (0.0, 0.25), id="a rise needs as much at any height"),
        pytest.param([10.0 * 1.1 ** (one // 5) for one in range(120)], (0.1, 0.0), id="growth needs a share"),
    ],
)
def test_what_is_provided(loads: list[float], provided: tuple[float, float]) -> None:
    found = choose(loads)
    assert (found.margin, found.spare) == provided


def test_beyond_a_trend_a_rise_needs_less() -> None:
    rising = pack(ramp(2.0))
    alone = rehearsal.choose(rising, 5, 0.7, CAPACITY)
    beyond = rehearsal.choose(rising, 5, 0.7, CAPACITY, follows_trend=True)
    assert beyond.spare < alone.spare
    assert (alone.follows_trend, beyond.follows_trend) == (False, True)


def test_more_confidence_never_misses_more() -> None:
    loads = spikes(8)
    missed = [choose(loads, 2, one).missed or 0.0 for one in (0.5, 0.8, 0.9, 0.99)]
    assert missed == sorted(missed, reverse=True)


@given(
    st.lists(st.floats(0, 1e6, width=32) | st.just(math.nan), max_size=300),
    st.integers(1, 15),
    st.floats(0.5, 0.99),
    st.floats(0, 1e4),
)
def test_any_load_has_an_answer(loads: list[float], ahead: int, confidence: float, capacity: float) -> None:
    found = rehearsal.choose(pack(loads), ahead, confidence, capacity)
    assert found.margin in (*rehearsal.MARGINS, rehearsal.DEFAULT.margin)
    assert found.window in rehearsal.WINDOWS
    assert found.missed is None or 0 <= found.missed <= 1
