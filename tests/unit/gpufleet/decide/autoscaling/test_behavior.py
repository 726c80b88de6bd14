from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet.api import autoscaling
from gpufleet.decide.autoscaling import behavior

NOW_S = 10_000.0


def rules(**fields: Any) -> autoscaling.ScalingRules:
    return autoscaling.ScalingRules.model_validate(fields)


def remember(*said: tuple[float, int], changes: tuple[tuple[float, int], ...] = ()) -> behavior.Memory:
    """Recommendations and changes as (seconds ago, number), the oldest first; watched for an hour."""
    memory = behavior.Memory(since_s=NOW_S - 3600)
    for ago_s, replicas in said:
        memory = memory.note(replicas, NOW_S - ago_s)
    for ago_s, servers in changes:
        memory = memory.note_change(servers, NOW_S - ago_s)
    return memory


def pods(value: int, period_s: int = 60) -> dict[str, Any]:
    return {"type": "Pods", "value": value, "periodSeconds": period_s}


def percent(value: int, period_s: int = 60) -> dict[str, Any]:
    return {"type": "Percent", "value": value, "periodSeconds": period_s}


@pytest.mark.parametrize(
    ("current", "memory", "up", "expected", "reason"),
    [
        pytest.param(2, remember((0, 3)), {}, 3, "", id="default grows at once"),
        pytest.param(2, remember((0, 40)), {}, 6, "ScaleUpRate", id="default adds four pods of few"),
        pytest.param(10, remember((0, 40)), {}, 20, "ScaleUpRate", id="default doubles many"),
        pytest.param(1, remember((0, 3)), {"selectPolicy": "Disabled"}, 1, "ScaleUpDisabled", id="disabled"),
        pytest.param(
            4,
            remember((30, 5), (0, 9)),
            {"stabilizationWindowSeconds": 60},
            5,
            "",
            id="the least of the window",
        ),
        pytest.param(
            4,
            remember((90, 3), (50, 9)),
            {"stabilizationWindowSeconds": 60},
            4,
            "ScaleUpStabilized",
            id="what stood when the window began counts",
        ),
        pytest.param(
            6,
            remember((0, 20), changes=((30, 4),)),
            {"policies": [pods(5)]},
            7,
            "ScaleUpRate",
            id="what came within the period counts",
        ),
        pytest.param(
            10,
            remember((0, 90)),
            {"policies": [pods(4), percent(100)], "selectPolicy": "Min"},
            14,
            "ScaleUpRate",
            id="min allows least",
        ),
        pytest.param(
            3, remember((0, 9)), {"policies": [percent(10)]}, 4, "ScaleUpRate", id="percent rounds up"
        ),
    ],
)
def test_growth(
    current: int, memory: behavior.Memory, up: dict[str, Any], expected: int, reason: str
) -> None:
    held = behavior.hold(current, memory, autoscaling.Behavior(scale_up=rules(**up)), NOW_S)
    assert (held.replicas, held.reason) == (expected, reason)


@pytest.mark.parametrize(
    ("current", "memory", "down", "expected", "reason"),
    [
        pytest.param(9, remember((400, 2)), {}, 2, "", id="default after five minutes"),
        pytest.param(
            9, remember((600, 9), (200, 2)), {}, 9, "ScaleDownStabilized", id="the most of the window"
        ),
        pytest.param(
            9, remember((600, 6), (200, 2)), {}, 6, "ScaleDownStabilized", id="part of the way at first"
        ),
        # Published: 80 pods go to 72, 65, 59 … under 4 pods and 10 %.
        pytest.param(
            80, remember((400, 10)), {"policies": [pods(4), percent(10)]}, 72, "ScaleDownRate", id="80 to 72"
        ),
        pytest.param(
            37, remember((400, 10)), {"policies": [pods(4), percent(10)]}, 33, "ScaleDownRate", id="37 to 33"
        ),
        pytest.param(
            80,
            remember((400, 10)),
            {"policies": [pods(5), percent(10)], "selectPolicy": "Min"},
            75,
            "ScaleDownRate",
            id="min allows least",
        ),
        pytest.param(
            9, remember((400, 2)), {"selectPolicy": "Disabled"}, 9, "ScaleDownDisabled", id="disabled"
        ),
        pytest.param(
            9,
            remember((400, 2), changes=((20, -3),)),
            {"policies": [pods(4)]},
            8,
            "ScaleDownRate",
            id="what went within the period counts",
        ),
        pytest.param(
            9,
            behavior.Memory(since_s=NOW_S - 20).note(2, NOW_S),
            {"stabilizationWindowSeconds": 60},
            9,
            "ScaleDownStabilized",
            id="a window that was not watched whole",
        ),
    ],
)
def test_shrinking(
    current: int, memory: behavior.Memory, down: dict[str, Any], expected: int, reason: str
) -> None:
    held = behavior.hold(current, memory, autoscaling.Behavior(scale_down=rules(**down)), NOW_S)
    assert (held.replicas, held.reason) == (expected, reason)


@given(st.lists(st.tuples(st.floats(0, 120), st.integers(0, 50)), max_size=30), st.integers(0, 50))
def test_the_number_never_passes_the_recommendation_and_never_turns_back(
    steps: list[tuple[float, int]], current: int
) -> None:
    now_s = 0.0
    memory = behavior.Memory(since_s=now_s)
    for later_s, wanted in steps:
        now_s += later_s
        memory = memory.note(wanted, now_s)
        held = behavior.hold(current, memory, autoscaling.Behavior(), now_s).replicas
        assert min(current, wanted) <= held <= max(current, wanted)
        if held != current:
            memory = memory.note_change(held - current, now_s)
        current = held


@given(st.lists(st.tuples(st.floats(0, 600), st.integers(0, 9)), min_size=1, max_size=40))
def test_forgetting_changes_no_answer(steps: list[tuple[float, int]]) -> None:
    now_s = 0.0
    memory = whole = behavior.Memory(since_s=now_s)
    for later_s, wanted in steps:
        now_s += later_s
        memory = memory.note(wanted, now_s)
        all_said = (*whole.recommendations, behavior.Recommendation(now_s, wanted))
        whole = behavior.Memory(since_s=0.0, recommendations=all_said)
        assert set(memory.within(3600, now_s)) == set(whole.within(3600, now_s))
