"""The KPA of the benchmark against knative/serving: pkg/autoscaler/scaling/autoscaler_test.go.

The tests there use a target of 10 or 1, tenfold rates in both directions and a panic threshold of 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.bench.autoscalers import kpa

Tick = tuple[float, float, int, float, int]
"""Stable and panic concurrency, ready pods, seconds, pods wanted."""


@pytest.mark.parametrize(
    ("target", "ticks"),
    [
        pytest.param(10, [(0, 0, 1, 0, 0)], id="NoDataAtZeroNoAutoscale"),
        pytest.param(181, [(21, 26, 1, 0, 1)], id="StableModeUnlimitedTBC"),
        pytest.param(10, [(50, 49, 1, 0, 5)], id="0TBC"),
        pytest.param(10, [(50, 50, 5, 0, 5)], id="StableModeNoChangeAlreadyScaled"),
        pytest.param(10, [(50, 100, 1, 0, 10)], id="PanicModeDoublePodCount"),
        pytest.param(10, [(50, 10, 1, 0, 5), (100, 10, 1, 0, 10)], id="StableModeIncrease"),
        pytest.param(10, [(100, 100, 8, 0, 10), (50, 50, 8, 0, 5)], id="StableModeDecrease"),
        pytest.param(10, [(1, 0, 1, 0, 1), (0, 0, 1, 0, 0)], id="StableModeNoTrafficScaleToZero"),
        pytest.param(10, [(1000, 1001, 1, 0, 10), (1000, 1001, 10, 0, 100)], id="RateLimitScaleUp"),
        pytest.param(10, [(1, 1, 100, 0, 10), (1, 1, 10, 0, 1)], id="RateLimitScaleDown"),
        pytest.param(10, [(1000, 888, 0, 0, 10)], id="UseOnePodAsMinimumIfEndpointsNotFound"),
        pytest.param(
            10,
            [(100, 100, 1, 0, 10), (100, 1000, 10, 0, 100), (1, 1, 10, 30, 100), (1, 1, 10, 61, 1)],
            id="PanicThenUnPanicScaleDown",
        ),
        pytest.param(
            1,
            [(11, 25, 10, 0, 25), (30, 41, 40, 30, 41), (50, 56, 55, 62, 50)],
            id="UnpanicAfterSlowIncrease",
        ),
        pytest.param(
            1, [(11, 25, 10, 0, 25), (30, 80, 40, 30, 80), (1, 1, 80, 80, 80)], id="ExtendPanicWindow"
        ),
        pytest.param(
            1,
            [(6, 6, 1, 0, 6), (36, 36, 6, 0, 36), (216, 216, 36, 1, 216), (1296, 1296, 216, 1, 1296)],
            id="PanicModeExponentialTrackAndStabilize",
        ),
    ],
)
def test_published_ticks(target: float, ticks: Sequence[Tick]) -> None:
    scaler = kpa.Scaler(target, max_up=10, max_down=10)
    found = [scaler.scale(stable, panic, ready, now_s) for stable, panic, ready, now_s, _ in ticks]
    assert found == [wanted for *_, wanted in ticks]


@pytest.mark.parametrize(
    ("stable", "panic", "pods", "wanted"),
    [
        pytest.param(50, 30, 5, 50, id="PanicStableLargerThanPanic"),
        pytest.param(20, 30, 5, 30, id="PanicStableLessThanPanic"),
    ],
)
def test_in_panic_the_larger_counts(stable: float, panic: float, pods: int, wanted: int) -> None:
    scaler = kpa.Scaler(1, max_up=10, max_down=10, panic_since_s=-5.0, panic_pods=pods)
    assert scaler.scale(stable, panic, pods, 0.0) == wanted


@pytest.mark.parametrize(
    ("rates", "concurrency", "target", "ready", "wanted"),
    [
        pytest.param((1.1, 10), 3, 1, 2, 3, id="StableModeIncreaseWithSmallScaleUpRate"),
        pytest.param((10, 1.1), 1, 10, 100, 90, id="StableModeDecreaseWithSmallScaleDownRate"),
    ],
)
def test_rates(
    rates: tuple[float, float], concurrency: float, target: float, ready: int, wanted: int
) -> None:
    scaler = kpa.Scaler(target, max_up=rates[0], max_down=rates[1])
    assert scaler.scale(concurrency, concurrency, ready, 0.0) == wanted


@pytest.mark.parametrize(
    ("ready", "panics"),
    [pytest.param(ready, ready > 1, id=f"StartInPanicMode, {ready} ready") for ready in (0, 1, 2)],
)
def test_more_than_one_pod_begins_in_panic(ready: int, panics: bool) -> None:
    scaler = kpa.Scaler(100, ready)
    scaler.begin(0.0)
    assert (scaler.panic_since_s is not None, scaler.panic_pods) == (panics, ready)


def test_defaults_are_those_of_the_config_map() -> None:
    # knative/docs: docs/serving/autoscaling/kpa-specific.md.
    defaults = (kpa.STABLE_S, kpa.PANIC_S, kpa.PANIC_THRESHOLD, kpa.MAX_UP, kpa.MAX_DOWN)
    assert defaults == (60, 60 * 0.1, 2.0, 1000, 2.0)
