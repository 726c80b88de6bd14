"""The line through what was measured, and the bound on what waits."""

from __future__ import annotations

import math

import hypothesis
import pytest
from hypothesis import strategies as st

from gpufleet.decide.triton import service_time
from gpufleet.decide.triton.service_time import Point, ServiceTime
from gpufleet.sim import batcher

seconds = st.floats(1e-4, 1.0)


@hypothesis.given(seconds, seconds, st.sets(st.integers(1, 256), min_size=2), st.integers(1, 10**6))
def test_a_line_is_found_again(alpha_s: float, beta_s: float, batches: set[int], count: int) -> None:
    found = service_time.fit([Point(one, alpha_s + beta_s * one, count) for one in sorted(batches)])
    assert found is not None
    assert found.time.alpha_s == pytest.approx(alpha_s, rel=1e-5, abs=1e-7)
    assert found.time.beta_s == pytest.approx(beta_s, rel=1e-5)
    assert found.r_squared == pytest.approx(1.0)
    assert found.error == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param([Point(4, 0.1, 9), Point(4, 0.2, 9)], None, id="one batch size"),
        pytest.param([Point(1, 0.1), Point(8, 0.3, 0)], None, id="one was never seen"),
        pytest.param([Point(1, 0.1), Point(8, 0.1)], (0.1, 0.0), id="a batch costs no more than one"),
        pytest.param([Point(1, 0.1), Point(2, 0.2)], (0.0, 0.1), id="a batch wins nothing"),
        pytest.param([Point(1, 0.2), Point(8, 0.1)], (0.15, 0.0), id="falling is taken for flat"),
        pytest.param([Point(1, 0.0), Point(2, 1.0)], (0.0, 0.4), id="less than nothing is taken for nothing"),
    ],
)
def test_fits(points: list[Point], expected: tuple[float, float] | None) -> None:
    found = service_time.fit(points)
    assert (found and (found.time.alpha_s, found.time.beta_s)) == (expected and pytest.approx(expected))


def test_what_is_not_a_line_shows() -> None:
    steps = service_time.fit([Point(one, 0.1 * math.ceil(one / 8)) for one in (1, 4, 8, 9, 16)])
    assert steps is not None
    assert steps.r_squared < 0.9
    assert steps.error > 0.1


@pytest.mark.parametrize("load", [0.05, 0.3, 0.6, 0.8])
@pytest.mark.parametrize(
    "time",
    [
        pytest.param(ServiceTime(0.02, 0.002), id="batches pay"),
        pytest.param(ServiceTime(0.05, 0.0001), id="items cost next to nothing"),
        pytest.param(ServiceTime(0.005, 0.005), id="batches pay a little"),
        pytest.param(ServiceTime(0.0, 0.01), id="batches pay nothing"),
    ],
)
def test_the_bound_holds_and_is_close(time: ServiceTime, load: float) -> None:
    rate = load * time.best_rate
    measured = batcher.run_open(service_time.Setting(max_batch=10**6), batcher.Model(time), rate).mean_s
    bound = service_time.bound_mean_latency_s(time, rate)
    assert measured * 0.97 < bound < measured * 1.2


def test_beyond_the_best_rate_nothing_is_promised() -> None:
    assert service_time.bound_mean_latency_s(ServiceTime(0.01, 0.01), 100.0) == math.inf
