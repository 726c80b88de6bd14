from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet.api import autoscaling
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


def recommend(
    found: signals.Readings, current: int, *targets: dict[str, Any], overdue: int = 0
) -> policy.Wanted:
    return policy.recommend(
        make_spec(targets=list(targets or (WAIT,))), policy.Facts(found, current, overdue)
    )


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


def test_a_server_that_never_becomes_ready_holds_up_no_growth() -> None:
    pods = make_pods(3, starting=1)
    found = signals.read(pods, make_look(pods[:3], **waiting(100)))
    assert recommend(found, 4).reason == policy.PODS_STARTING
    assert recommend(found, 4, overdue=1).replicas == 6


def demand(offered: float, capacity: float, expected: float = 0.0, margin: float = 0.0) -> autoscaling.Demand:
    return autoscaling.Demand(
        offered=offered,
        expected=expected or offered,
        margin=margin,
        horizon_seconds=60,
        capacity=capacity,
        source="Profile",
    )


@pytest.mark.parametrize(
    ("current", "offered", "expected", "margin", "replicas"),
    [
        pytest.param(2, 100.0, 0.0, 0, 4, id="as many as carry the load"),
        pytest.param(2, 100.0, 0.0, 20, 5, id="with what is provided for beyond it"),
        pytest.param(2, 100.0, 150.0, 0, 6, id="with what is expected while a server starts"),
        pytest.param(2, 100.0, 80.0, 10, 4, id="never for less than comes now"),
        pytest.param(5, 100.0, 0.0, 0, 5, id="no fewer than carry a tenth more"),
        pytest.param(6, 100.0, 0.0, 0, 5, id="as few as carry a tenth more"),
        pytest.param(4, 100.0, 0.0, 0, 4, id="just enough"),
        pytest.param(9, 20.0, 0.0, 0, 1, id="most of the load has gone"),
    ],
)
def test_objective(current: int, offered: float, expected: float, margin: float, replicas: int) -> None:
    """A server carries 25 requests per second."""
    found = read(current, served=offered / current)
    known = demand(offered, 25.0, expected, margin)
    wanted = policy.recommend(make_spec(targets=[]), policy.Facts(found, current, 0, True, known))
    assert (wanted.replicas, wanted.reason) == (replicas, "")


@pytest.mark.parametrize(
    ("noise", "replicas"),
    [
        pytest.param(0.0, 4, id="a load without noise keeps nothing to spare"),
        pytest.param(5.0, 5, id="three deviations of its noise"),
        pytest.param(40.0, 8, id="a load that scatters more than it is"),
    ],
)
def test_the_noise_of_a_load_brings_no_server_back(noise: float, replicas: int) -> None:
    """100 requests per second, of which a server carries 25."""
    known = demand(100.0, 25.0).model_copy(update={"noise": noise})
    facts = policy.Facts(read(8, served=12.5), 8, 0, True, known)
    assert policy.recommend(make_spec(targets=[]), facts).replicas == replicas


@given(st.integers(1, 40), st.floats(0.1, 1000), st.floats(0.5, 100), st.floats(0, 500))
def test_fewer_servers_always_carry_the_load(
    current: int, offered: float, capacity: float, margin: float
) -> None:
    """What it shrinks to holds at load × N/(N−1), and a second look does not grow again."""
    spec = make_spec(targets=[], maxReplicas=1000)
    found = read(current, served=offered / current)
    facts = policy.Facts(found, current, has_objective=True, demand=demand(offered, capacity, margin=margin))
    wanted = policy.recommend(spec, facts)
    assert wanted.replicas * capacity >= (offered + margin) * (1 - 1e-5)
    again = policy.recommend(spec, dataclasses.replace(facts, current=wanted.replicas))
    assert again.replicas <= max(wanted.replicas, current)
    if wanted.replicas < current:
        assert again.replicas == wanted.replicas


@pytest.mark.parametrize(
    ("found", "known", "replicas", "reason"),
    [
        pytest.param(OUTAGE, None, 4, policy.NO_EVIDENCE, id="an outage"),
        pytest.param(
            partly(2, 4, served=1.0), demand(2.0, 25.0), 4, policy.NO_EVIDENCE, id="a part that is calm"
        ),
        pytest.param(partly(2, 4, served=100.0), demand(200.0, 25.0), 8, "", id="a part that needs more"),
        pytest.param(read(4, served=1.0), None, 4, policy.CAPACITY_UNKNOWN, id="not known what one carries"),
        pytest.param(read(4), None, 0, "", id="nobody asks"),
        pytest.param(read(4), demand(0.0, 25.0, 90.0), 4, "", id="nobody asks yet"),
    ],
)
def test_objective_without_evidence(
    found: signals.Readings, known: autoscaling.Demand | None, replicas: int, reason: str
) -> None:
    facts = policy.Facts(found, 4, has_objective=True, demand=known)
    wanted = policy.recommend(make_spec(targets=[]), facts)
    assert (wanted.replicas, wanted.reason) == (replicas, reason)


@pytest.mark.parametrize(
    ("ready", "current", "fields", "replicas"),
    [
        pytest.param(4, 4, {"served": 10.0, "failed": 0.05, "shed": 0.05}, 4, id="hardly any"),
        pytest.param(4, 4, {"served": 10.0, "failed": 0.5, "shed": 0.5}, 5, id="a twentieth"),
        pytest.param(4, 4, {"served": 10.0, "failed": 10.0, "shed": 10.0}, 9, id="half of them"),
        pytest.param(4, 9, {"served": 10.0, "failed": 10.0, "shed": 10.0}, 9, id="while the others start"),
        pytest.param(2, 2, {"failed": 10.0, "shed": 10.0}, 22, id="all of them"),
        pytest.param(4, 4, {"served": 10.0, "failed": 10.0}, 4, id="failures of another kind"),
    ],
)
def test_refused_requests(ready: int, current: int, fields: dict[str, float], replicas: int) -> None:
    pods = make_pods(ready, starting=current - ready)
    found = signals.read(pods, make_look(pods[:ready], **fields))
    steady = {"signal": "KVCacheUsage", "value": 100}
    spec = make_spec(targets=[steady], maxReplicas=100)
    assert policy.recommend(spec, policy.Facts(found, current)).replicas == replicas


def test_one_busy_server_is_not_hidden_by_idle_ones() -> None:
    pods = make_pods(10)
    idle = {(pod.namespace, pod.name): make_sample() for pod in pods[1:]}
    busy = {(pods[0].namespace, pods[0].name): make_sample(**waiting(100))}
    assert recommend(signals.read(pods, samples.Look(1, 0.0, busy | idle)), 10).replicas == 20
