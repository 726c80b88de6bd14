"""Lines with a damped slope, by figures worked out by hand and by what must hold of any."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet.decide.autoscaling import smoothing
from gpufleet.decide.autoscaling.smoothing import Line

HALF = smoothing.Weights(0.5, 0.5)
loads = st.floats(0, 1e6)


@pytest.mark.parametrize(
    ("line", "value", "expected"),
    [
        pytest.param(None, None, None, id="nothing"),
        pytest.param(None, 5.0, Line(5.0, 0.0), id="the first"),
        pytest.param(Line(10.0, 0.0), 10.0, Line(10.0, 0.0), id="as expected"),
        pytest.param(Line(10.0, 0.0), 14.0, Line(12.0, 1.0), id="higher"),
        # Expected 10 + 2 = 12; level 12 + 0.5 × 1; slope 0.5 × 2.5 + 0.5 × 2.
        pytest.param(Line(10.0, 2.0), 13.0, Line(12.5, 2.25), id="rising"),
        pytest.param(Line(10.0, 2.0), None, Line(11.9, 1.9), id="a gap"),
    ],
)
def test_one_bin_later(line: Line | None, value: float | None, expected: Line | None) -> None:
    assert smoothing.advance(line, value, HALF) == (expected and pytest.approx(expected))


@pytest.mark.parametrize(
    ("line", "ahead", "reach", "peak"),
    [
        pytest.param(Line(10.0, 1.0), 1, 10.95, 10.95, id="one bin"),
        pytest.param(Line(10.0, 1.0), 3, 12.709875, 12.709875, id="rising"),
        pytest.param(Line(10.0, -1.0), 3, 7.290125, 9.05, id="falling"),
        pytest.param(Line(10.0, 0.0), 15, 10.0, 10.0, id="flat"),
    ],
)
def test_ahead(line: Line, ahead: int, reach: float, peak: float) -> None:
    assert smoothing.reach(line, ahead) == pytest.approx(reach)
    assert smoothing.peak(line, ahead) == pytest.approx(peak)


@given(st.floats(0, 1e4), st.floats(-1e3, 1e3))
def test_a_steady_rise_is_met(first: float, slope: float) -> None:
    """The level, and so the slope, to a hundredth of a bin's rise: the last load is off by a whole one."""
    line: Line | None = None
    for one in range(100):
        line = smoothing.advance(line, first + slope * one, smoothing.LOAD)
    assert line == (
        pytest.approx(first + slope * 99, abs=0.01 * abs(slope) + 1e-6),
        pytest.approx(slope, 0.01),
    )


@given(loads, st.floats(-1e6, 1e6), st.integers(1, smoothing.LONGEST))
def test_the_peak_is_the_highest_on_the_way(level: float, slope: float, ahead: int) -> None:
    line = Line(level, slope)
    assert smoothing.peak(line, ahead) == max(smoothing.reach(line, step) for step in range(1, ahead + 1))


@given(loads, st.floats(-1e6, 1e6), st.integers(1, smoothing.LONGEST))
def test_a_gap_goes_where_the_line_points(level: float, slope: float, ahead: int) -> None:
    line: Line | None = Line(level, slope)
    foreseen = smoothing.reach(Line(level, slope), ahead)
    for _ in range(ahead):
        line = smoothing.advance(line, None, smoothing.LOAD)
    assert line is not None
    assert line.level == pytest.approx(foreseen, rel=1e-9, abs=1e-6)
