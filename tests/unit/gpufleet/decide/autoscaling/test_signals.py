from __future__ import annotations

from typing import Any

import pytest

from gpufleet.decide.autoscaling import signals
from gpufleet.state import fleet, samples
from tests.unit.gpufleet.decide.autoscaling.builders import make_look, make_pods, read, waiting

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
        pytest.param(
            TWO, look(a=sample(pending=None), b=sample()), "Ok", id="unknown whether any hangs: no idleness"
        ),
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


def test_a_pod_without_requests_lacks_no_percentile_of_them() -> None:
    busy = sample(served=10.0, latency_s=0.2, ttft_s=0.1, itl_s=0.01)
    found = signals.read(TWO, look(a=busy, b=sample()))
    assert [one.kind for one in (found.latency_s, found.ttft_s, found.itl_s)] == ["Ok"] * 3


@pytest.mark.parametrize(
    ("delay_s", "expected"),
    [
        pytest.param(0.0, 0.2, id="no delay"),
        pytest.param(0.05, 0.15, id="batching holds requests back"),
        pytest.param(0.5, 0.0, id="a batch is full before the delay ends"),
    ],
)
def test_the_delay_of_batching_is_no_wait(delay_s: float, expected: float) -> None:
    assert signals.read(TWO, look(a=BUSY, b=BUSY), delay_s).wait_s.value == pytest.approx(expected)


def test_no_delay_makes_a_wait_of_nobody() -> None:
    assert signals.read(TWO, look(a=sample(), b=sample()), 0.05).wait_s.value is None


def test_the_mean_batch_is_of_all_executions() -> None:
    large, single = sample(items=80.0, executions=10.0), sample(items=10.0, executions=10.0)
    found = signals.read(TWO, look(a=large, b=single))
    assert (found.batch_size.value, found.items.value) == (4.5, 90.0)


def test_load_of_a_model_is_that_of_all_pods_that_are_fresh() -> None:
    pods = (*TWO, pod("c"))
    found = signals.read(
        pods,
        look(
            a=sample(by_model={"m": 3.0, "n": 1.0}),
            b=sample(by_model={"m": 2.0}),
            c=sample(by_model={"m": 9.0}, age_s=200.0),
        ),
    )
    assert found.by_model == {"m": 5.0, "n": 1.0}


def test_devices_are_told_by_what_they_are() -> None:
    device = {"sm_active": 0.1, "power_w": 300.0, "xid": 0.0}
    one = sample(gr_engine_active=0.2, fb_used_mib=1000.0, **device)
    other = sample(gr_engine_active=0.6, fb_used_mib=3000.0, **{**device, "xid": 79.0})
    found = signals.read(TWO, look(a=one, b=other))
    values = (found.gr_engine_active, found.sm_active, found.fb_used_mib, found.power_w, found.xid)
    assert [one.value for one in values] == pytest.approx([0.4, 0.1, 3000.0, 600.0, 79.0])


def test_without_dcgm_nothing_else_is_lacking() -> None:
    found = signals.read(TWO, look(a=BUSY, b=BUSY))
    assert (found.gr_engine_active.kind, found.offered.kind) == ("Missing", "Ok")


def test_a_supposed_load_grows_rates_and_leaves_waits() -> None:
    seen = read(2, **waiting(80), busy=0.3, shed=1.0, pending=4.0, latency_s=0.2)
    twice = signals.multiply(seen, 2.0)
    assert (twice.offered.value, twice.shed.value, twice.busy.value) == (40.0, 4.0, 1.2)
    assert (twice.wait_s, twice.pending, twice.latency_s) == (seen.wait_s, seen.pending, seen.latency_s)


def test_a_supposed_load_of_none_is_idle() -> None:
    none = signals.multiply(read(2, **waiting(80), pending=4.0), 0.0)
    kinds = {none.offered.kind, none.pending.kind, none.wait_s.kind, none.busy.kind}
    assert (kinds, none.pending.value, none.wait_s.value) == ({"Idle"}, 0.0, None)


def test_what_is_not_known_stays_so_at_any_load() -> None:
    pods = make_pods(2)
    lacking = signals.read(pods, make_look((), error="away"))
    assert signals.multiply(lacking, 0.0) == signals.multiply(lacking, 3.0) == lacking
