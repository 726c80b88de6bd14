from __future__ import annotations

from typing import Any

import pytest

from gpufleet.decide.autoscaling import signals
from gpufleet.state import fleet, samples

NAMESPACE = "team-a"


def pod(name: str, **fields: Any) -> fleet.Pod:
    return fleet.Pod(uid=name, namespace=NAMESPACE, name=name, **{"ready": True, **fields})


def sample(**fields: Any) -> samples.PodSample:
    idle = {
        "age_s": 5.0,
        "queue_s": 0.0,
        "served": 0.0,
        "failed": 0.0,
        "shed": 0.0,
        "pending": 0.0,
        "busy": 0.0,
    }
    return samples.PodSample(**{**idle, **fields})


def look(error: str = "", **pods: samples.PodSample) -> samples.Look:
    named = {(NAMESPACE, name): one for name, one in pods.items()}
    return samples.Look(number=1, at_s=0.0, pods=named, error=error)


TWO = (pod("a"), pod("b"))
BUSY = sample(served=10.0, queue_s=2.0, busy=0.8, pending=3.0, latency_s=0.2)


@pytest.mark.parametrize(
    ("pods", "seen", "expected"),
    [
        pytest.param(TWO, look(a=BUSY, b=sample()), "Ok", id="both answer"),
        pytest.param(TWO, look(a=sample(), b=sample()), "Idle", id="both answer and nobody asks"),
        pytest.param(
            TWO, look(a=sample(pending=1.0), b=sample()), "Ok", id="a request that hangs is no idleness"
        ),
        pytest.param(TWO, look(a=sample(failed=1.0), b=sample()), "Ok", id="requests that fail are a load"),
        pytest.param(TWO, look(a=BUSY), "Partial", id="one is not scraped"),
        pytest.param(TWO, look(a=BUSY, b=sample(age_s=200.0)), "Partial", id="one is stale"),
        pytest.param(TWO, look(a=sample(age_s=200.0)), "Stale", id="what there is is stale"),
        pytest.param(TWO, look(), "Missing", id="a wrong job label"),
        pytest.param(TWO, look(error="refused"), "Missing", id="an outage"),
        pytest.param((), look(a=BUSY), "Missing", id="no pod is ready"),
        pytest.param((pod("a"), pod("b", ready=False)), look(a=BUSY), "Ok", id="one that starts has no say"),
        pytest.param(
            (pod("a"), pod("b", deleting=True)), look(a=BUSY), "Ok", id="one that leaves has no say"
        ),
        pytest.param((pod("a"),), look(a=BUSY, x=BUSY), "Ok", id="a forged pod is nobody's"),
    ],
)
def test_class(pods: tuple[fleet.Pod, ...], seen: samples.Look, expected: str) -> None:
    assert signals.read(pods, seen).offered.kind == expected


@pytest.mark.parametrize("kind", ["Stale", "Missing", "Partial"])
def test_lack_of_evidence_never_shrinks(kind: signals.Class) -> None:
    assert not signals.Reading(0.0, kind).may_shrink


def test_sums_come_before_ratios() -> None:
    """One busy pod among nine idle ones waits as long as it does, not a tenth of it (triton server#8979)."""
    pods = tuple(pod(f"p{number}") for number in range(10))
    found = signals.read(pods, look(p0=BUSY, **{f"p{n}": sample() for n in range(1, 10)}))
    assert found.wait_s.value == pytest.approx(0.2)
    assert (found.offered.value, found.pending.value, found.latency_s.value) == (10.0, 3.0, 0.2)


def test_a_wait_of_nobody_is_none() -> None:
    found = signals.read(TWO, look(a=sample(), b=sample()))
    assert (found.wait_s.value, found.wait_s.kind) == (None, "Idle")


def test_a_signal_that_only_one_pod_has_is_partial() -> None:
    found = signals.read(TWO, look(a=BUSY, b=sample(served=1.0)))
    assert (found.offered.kind, found.latency_s.kind, found.kv_cache.kind) == ("Ok", "Partial", "Missing")
    assert found.latency_s.may_grow
