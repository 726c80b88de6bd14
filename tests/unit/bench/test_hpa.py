"""The HPA of the benchmark against what Kubernetes publishes of its own."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.bench.autoscalers import hpa

MISSING, IGNORED = hpa.MISSING, hpa.IGNORED


@pytest.mark.parametrize(
    ("current", "values", "target", "replicas"),
    [
        # kubernetes/website: horizontal-pod-autoscale.md, "Algorithm details".
        pytest.param(2, [200.0, 200.0], 100, 4, id="website: 200m of 100m doubles"),
        pytest.param(2, [50.0, 50.0], 100, 1, id="website: 50m of 100m halves"),
        pytest.param(3, [109.0] * 3, 100, 3, id="website: within the tolerance of 0.1"),
        # kubernetes/kubernetes: pkg/controller/podautoscaler/replica_calculator_test.go, by the test's name.
        pytest.param(3, [20000.0, 10000.0, 30000.0], 15000, 4, id="ScaleUpCM"),
        pytest.param(3, [50000.0, 10000.0, 30000.0], 15000, 6, id="ScaleUpCMUnreadyHotCpuNoLessScale"),
        pytest.param(
            3, [50000.0, 15000.0, 30000.0], 15000, 7, id="ScaleUpCMUnreadyHotCpuScaleWouldScaleDown"
        ),
        pytest.param(5, [12000.0] * 5, 20000, 3, id="ScaleDownCM"),
        pytest.param(3, [20000.0, 21000.0, 21000.0], 20000, 3, id="ToleranceCM"),
        pytest.param(1, [8600.0], 4400, 2, id="ScaleUpCMExternal, of type Pods there"),
        pytest.param(3, [IGNORED, 500.0, 700.0], 300, 4, id="ScaleUpUnreadyLessScale"),
        pytest.param(3, [400.0, IGNORED, IGNORED], 300, 3, id="ScaleUpUnreadyNoScale"),
        pytest.param(5, [100.0, *[IGNORED] * 4], 500, 1, id="ScaleDownExcludeUnscheduledPods"),
        pytest.param(4, [400.0, 95.0, MISSING, MISSING], 1000, 3, id="MissingMetrics"),
        pytest.param(2, [1900.0, MISSING], 1000, 2, id="MissingMetricsNoChangeGt"),
        pytest.param(2, [600.0, MISSING], 1000, 2, id="MissingMetricsNoChangeLt"),
        pytest.param(3, [IGNORED, 2000.0, MISSING], 500, 4, id="MissingMetricsUnreadyScaleUp"),
        pytest.param(3, [IGNORED, 450.0, MISSING], 500, 3, id="MissingMetricsUnreadyChange"),
        pytest.param(4, [MISSING] * 4, 1000, None, id="EmptyMetrics"),
    ],
)
def test_metric_of_type_pods(
    current: int, values: Sequence[hpa.PodValue], target: float, replicas: int | None
) -> None:
    assert hpa.replicas_of_pods_metric(current, values, target) == replicas


@pytest.mark.parametrize(
    ("current", "total", "target", "replicas"),
    [
        # kubernetes/kubernetes: pkg/controller/podautoscaler/replica_calculator_test.go, by the test's name.
        pytest.param(3, 8600, 2150, 4, id="ScaleUpPerPodCMExternal"),
        pytest.param(5, 8600, 2867, 3, id="ScaleDownPerPodCMExternal"),
        pytest.param(3, 8600, 2900, 3, id="TolerancePerPodCMExternal"),
        pytest.param(3, 20000, 5000, 4, id="ScaleUpCMPerPodObject"),
        pytest.param(5, 6000, 2000, 3, id="ScaleDownPerPodCMObject"),
        pytest.param(4, 20166, 5000, 4, id="TolerancePerPodCMObject"),
    ],
)
def test_external_metric_with_an_average_value(
    current: int, total: float, target: float, replicas: int
) -> None:
    assert hpa.replicas_of_external_metric(current, total, target) == replicas


def play(
    behavior: hpa.Behavior, current: int, wanted: Sequence[int], every_s: float, since_s: float = 0.0
) -> list[int]:
    """The number after each recommendation."""
    numbers = []
    for tick, one in enumerate(wanted):
        current = behavior.hold(current, one, since_s + tick * every_s)
        numbers.append(current)
    return numbers


TENFOLD = hpa.Rules(0, (hpa.Limit("Percent", 900, 60),))
NEVER = hpa.Rules(0, (), "Disabled")


@pytest.mark.parametrize(
    ("up", "down", "current", "wanted", "every_s", "numbers"),
    [
        # kubernetes/enhancements: keps/sig-autoscaling/853-configurable-hpa-scale-velocity/README.md.
        pytest.param(TENFOLD, hpa.DOWN, 1, [5000] * 3, 61, [10, 100, 1000], id="KEP-853 story 1"),
        pytest.param(
            TENFOLD,
            hpa.Rules(0, (hpa.Limit("Pods", 1, 600),)),
            1000,
            [1] * 12,
            60,
            [*[999] * 10, *[998] * 2],
            id="KEP-853 story 2: one pod in ten minutes",
        ),
        pytest.param(
            hpa.Rules(0, (hpa.Limit("Pods", 1, 300),)),
            hpa.DOWN,
            1,
            [9] * 3,
            301,
            [2, 3, 4],
            id="KEP-853 story 3",
        ),
        pytest.param(hpa.UP, NEVER, 9, [1] * 40, 15, [9] * 40, id="KEP-853 story 4"),
        pytest.param(
            hpa.UP,
            hpa.Rules(600, (hpa.Limit("Pods", 5, 60),)),
            10,
            [10, 9, 8, 9, 9, 8, 9, 8, 9, 8, 7],
            60,
            [*[10] * 10, 9],
            id="KEP-853 story 5",
        ),
        # The controller has forgotten what is as old as the window, the story only a minute later.
        pytest.param(
            hpa.Rules(300, (hpa.Limit("Pods", 20, 60),)),
            hpa.DOWN,
            2,
            [2, 3, 19, 10, 3, 4],
            60,
            [2, 2, 2, 2, 2, 3],
            id="KEP-853 story 6",
        ),
        # kubernetes/website: horizontal-pod-autoscale.md, "Scaling policies": 8 of 80, 8 of 72, at last 4.
        pytest.param(
            hpa.UP,
            hpa.Rules(0, (hpa.Limit("Pods", 4, 60), hpa.Limit("Percent", 10, 60))),
            80,
            [10] * 14,
            61,
            [72, 64, 57, 51, 45, 40, 36, 32, 28, 24, 20, 16, 12, 10],
            id="website: 80 to 10",
        ),
        # kubernetes/website: horizontal-pod-autoscale.md, "Default behavior".
        pytest.param(
            hpa.UP, hpa.DOWN, 1, [50] * 4, 15, [5, 10, 20, 40], id="website: 4 pods or 100 % in 15 s"
        ),
        pytest.param(
            hpa.UP,
            hpa.DOWN,
            10,
            [10, *[1] * 21],
            15,
            [*[10] * 20, 1, 1],
            id="website: down after 300 s, at once",
        ),
    ],
)
def test_behavior(
    up: hpa.Rules,
    down: hpa.Rules,
    current: int,
    wanted: Sequence[int],
    every_s: float,
    numbers: Sequence[int],
) -> None:
    assert play(hpa.Behavior(up, down), current, wanted, every_s) == list(numbers)
