from __future__ import annotations

from typing import Any

import pytest

from gpufleet.report import status


def condition(
    type_: str, value: str, reason: str = "R", time: str = "2026-01-01T00:00:00Z"
) -> dict[str, Any]:
    return {"type": type_, "status": value, "reason": reason, "message": "", "lastTransitionTime": time}


SETTLED = [condition("Ready", "True"), condition("Reconciling", "False")]
MOVING = [condition("Ready", "False"), condition("Reconciling", "True")]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param({}, {"replicas": 0, "selector": ""}, False, id="nothing is the same as zero"),
        pytest.param({"replicas": 1}, {"replicas": 2}, True, id="a count"),
        pytest.param({"conditions": SETTLED}, {"conditions": MOVING}, True, id="a condition"),
        pytest.param(
            {"conditions": [condition("Ready", "True")]},
            {"conditions": [condition("Ready", "True", time="2027-01-01T00:00:00Z")]},
            False,
            id="a transition time alone",
        ),
        pytest.param({"assignment": {"replicas": 1}}, {}, False, id="the cycle's part is not ours"),
        pytest.param({"replicas": 1}, {}, True, id="a field that is no longer said"),
    ],
)
def test_differs(old: dict[str, Any], new: dict[str, Any], expected: bool) -> None:
    assert status.differs({"conditions": [], **old}, {"conditions": [], **new}) is expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param({"replicas": 1}, {"replicas": 2}, True, id="pods"),
        pytest.param(
            {"models": [{"name": "a", "state": "Ready", "readyPods": 1}]},
            {"models": [{"name": "a", "state": "Ready", "readyPods": 2}]},
            True,
            id="ready pods of a model",
        ),
        pytest.param(
            {"models": [{"name": "a", "state": "Loading"}]},
            {"models": [{"name": "a", "state": "Ready"}]},
            False,
            id="a model's state is more than a count",
        ),
        pytest.param({"revision": "a"}, {"revision": "b"}, False, id="a revision"),
    ],
)
def test_counts_wait_only_while_on_the_way(old: dict[str, Any], new: dict[str, Any], expected: bool) -> None:
    assert (
        status.differs_in_counts_only({"conditions": MOVING, **old}, {"conditions": MOVING, **new})
        is expected
    )
    assert not status.differs_in_counts_only({"conditions": SETTLED, **old}, {"conditions": SETTLED, **new})
