from __future__ import annotations

from typing import Any

import pytest

from gpufleet.decide.autoscaling import policy, signals
from gpufleet.state import samples
from tests.unit.gpufleet.decide.autoscaling.builders import (
    make_look,
    make_pods,
    make_sample,
    make_spec,
    read,
    waiting,
)

RATE = {"signal": "RequestRate", "value": 10}
WAIT = {"signal": "QueueWait", "value": 50}
PENDING = {"signal": "PendingRequests", "value": 4}
BUSY = {"signal": "BusyPercent", "value": 70}


def recommend(found: signals.Readings, current: int, *targets: dict[str, Any]) -> policy.Wanted:
    return policy.recommend(make_spec(targets=list(targets or (WAIT,))), found, current)


@pytest.mark.parametrize(
    ("found", "current", "targets", "expected"),
    [
        # The Kubernetes documentation's own: 200m against 100m doubles, 50m halves.
        pytest.param(read(4, **waiting(100)), 4, (WAIT,), 8, id="twice the target doubles"),
        pytest.param(read(4, **waiting(25)), 4, (WAIT,), 2, id="half the target halves"),
        pytest.param(read(10, **waiting(55)), 10, (WAIT,), 10, id="a tenth above is tolerated"),
        pytest.param(read(10, **waiting(45)), 10, (WAIT,), 10, id="a tenth below is tolerated"),
        pytest.param(read(3, **waiting(70)), 3, (WAIT,), 5, id="rounds up"),
        pytest.param(read(2, served=26.0), 2, (RATE,), 6, id="a sum per server"),
        pytest.param(read(2, served=26.0, failed=14.0), 2, (RATE,), 8, id="what is refused was offered"),
        pytest.param(read(2, busy=1.4, served=1.0), 2, (BUSY,), 4, id="busy instances"),
        pytest.param(read(2, pending=10.0), 2, (PENDING,), 5, id="requests that wait"),
        pytest.param(read(3, **waiting(25, 20.0)), 3, (WAIT, RATE), 6, id="the most needy target counts"),
        pytest.param(read(3), 3, (WAIT,), 0, id="nobody asks"),
    ],
)
def test_enough_evidence(
    found: signals.Readings, current: int, targets: tuple[dict[str, Any], ...], expected: int
) -> None:
    wanted = recommend(found, current, *targets)
    assert (wanted.replicas, wanted.reason) == (expected, "")


def partly(seen: int, ready: int, **fields: Any) -> signals.Readings:
    pods = make_pods(ready)
    return signals.read(pods, make_look(pods[:seen], **fields))


OUTAGE = signals.read(make_pods(4), samples.Look(2, 0.0, error="Prometheus answered 503"))


@pytest.mark.parametrize(
    ("found", "targets", "expected", "reason"),
    [
        pytest.param(OUTAGE, (WAIT,), 4, policy.NO_EVIDENCE, id="an outage at peak (keda#3065)"),
        pytest.param(partly(0, 4), (WAIT,), 4, policy.NO_EVIDENCE, id="a wrong job label"),
        pytest.param(read(4, age_s=300.0), (WAIT,), 4, policy.NO_EVIDENCE, id="stale series"),
        pytest.param(partly(1, 4), (RATE,), 4, policy.NO_EVIDENCE, id="a part that is idle"),
        pytest.param(partly(1, 4, **waiting(5)), (WAIT,), 4, policy.NO_EVIDENCE, id="a part that is calm"),
        pytest.param(partly(3, 4, served=30.0), (RATE,), 9, "", id="a part that needs more grows"),
        pytest.param(
            read(4, **waiting(100)),
            (WAIT, {"signal": "KVCacheUsage", "value": 80}),
            8,
            "",
            id="one of two grows",
        ),
        pytest.param(
            read(4, **waiting(10)),
            (WAIT, {"signal": "KVCacheUsage", "value": 80}),
            4,
            policy.NO_EVIDENCE,
            id="one of two alone does not shrink",
        ),
    ],
)
def test_lack_of_evidence(
    found: signals.Readings, targets: tuple[dict[str, Any], ...], expected: int, reason: str
) -> None:
    wanted = recommend(found, 4, *targets)
    assert (wanted.replicas, wanted.reason) == (expected, reason)


def test_the_reason_says_what_is_lacking() -> None:
    wanted = recommend(OUTAGE, 4)
    assert "QueueWait is missing" in wanted.message
    assert "Prometheus answered 503" in wanted.message


@pytest.mark.parametrize(
    ("targets", "fields", "expected"),
    [
        pytest.param((WAIT,), waiting(200), 4, id="a wait makes no cascade (aibrix#2670)"),
        pytest.param((PENDING,), {"pending": 40.0}, 4, id="nor does a backlog"),
        pytest.param((RATE,), {"served": 45.0}, 9, id="a load that grew is followed"),
    ],
)
def test_servers_that_start(
    targets: tuple[dict[str, Any], ...], fields: dict[str, float], expected: int
) -> None:
    pods = make_pods(2, starting=2)
    wanted = recommend(signals.read(pods, make_look(pods[:2], **fields)), 4, *targets)
    assert (wanted.replicas, wanted.reason) == (expected, "" if expected > 4 else policy.PODS_STARTING)


def test_one_busy_server_is_not_hidden_by_idle_ones() -> None:
    pods = make_pods(10)
    idle = {(pod.namespace, pod.name): make_sample() for pod in pods[1:]}
    busy = {(pods[0].namespace, pods[0].name): make_sample(**waiting(100))}
    assert recommend(signals.read(pods, samples.Look(1, 0.0, busy | idle)), 10).replicas == 20
