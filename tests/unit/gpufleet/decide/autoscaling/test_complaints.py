"""What users of other autoscalers complain about, each as a run; names are those of their issues."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from gpufleet.decide.autoscaling import memories, scaler, sleep
from gpufleet.state import samples
from tests.unit.gpufleet.decide.autoscaling.builders import make_look, make_sample
from tests.unit.gpufleet.decide.autoscaling.test_memories import CARRIES, Fleet, make

WAIT = [{"signal": "QueueWait", "value": 50}]
RATE = [{"signal": "RequestRate", "value": 20}]
OUTAGE = samples.Look(9, 0.0, error="Prometheus answered 503")


class Running(Fleet):
    """Servers come and go at once as they are asked for; each pass sees `total` requests per second."""

    def __init__(self, servers: int, **scaling: Any) -> None:
        self.fields = {"maxReplicas": 40, **scaling}
        super().__init__(make(replicas=servers, **self.fields), ready=servers)
        self.servers = servers

    def step(self, total: float, look: samples.Look | None = None, **fields: Any) -> int:
        each = total / self.servers if self.servers else 0.0
        found = self.scale(look, served=each, arriving=each, **fields)
        if found.replicas != self.servers:
            self.servers = found.replicas
            status = {"autoscaling": {"mode": "Active", "replicas": self.servers}}
            self.service = make(replicas=self.servers, status=status, **self.fields)
            self.pods = [self.make_pod(number, ready=True) for number in range(self.servers)]
        return self.servers


def changes(numbers: list[int]) -> int:
    return sum(before != after for before, after in itertools.pairwise(numbers))


@pytest.mark.parametrize("scaling", [{}, {"targets": WAIT}, {"targets": RATE}], ids=["aim", "wait", "rate"])
def test_an_outage_at_peak_is_not_zero_load(scaling: dict[str, Any]) -> None:
    """kedacore/keda#3065: scaled to the minimum while nobody could see the load."""
    running = Running(8, **scaling)
    for _ in range(20):
        running.step(140.0, queue_s=1.0)
    peak = running.servers
    assert {running.step(0.0, OUTAGE) for _ in range(200)} == {peak}


@pytest.mark.parametrize("scaling", [{}, {"targets": WAIT}, {"targets": RATE}], ids=["aim", "wait", "rate"])
def test_no_traffic_is_no_lack_of_evidence(scaling: dict[str, Any]) -> None:
    """ai-dynamo/dynamo#6985: seven workers were never released, because no traffic gave NaN."""
    running = Running(7, **scaling)
    assert [running.step(0.0) for _ in range(60)][-1] == 1


def test_one_busy_model_is_not_hidden_by_idle_ones() -> None:
    """triton-inference-server/server#8979: per-model ratios averaged show a fraction of the true wait."""
    running = Running(2, targets=WAIT)
    # Prometheus's sums over all models of a pod: 9 idle ones add nothing to either side of the ratio.
    assert running.step(20.0, queue_s=10.0 * 0.1) == 4


def test_servers_that_start_slowly_make_no_cascade() -> None:
    """vllm-project/aibrix#2670: 2 → 4 → 8 → 16 while pods were starting."""
    fleet = Fleet(make(replicas=4, targets=WAIT, maxReplicas=64), ready=2, starting=2)
    for _ in range(5):
        assert fleet.scale(served=10.0, queue_s=10.0 * 0.3).replicas == 4


@pytest.mark.parametrize("total", [CARRIES * 0.98, CARRIES * 1.02, CARRIES * 1.98, CARRIES * 2.02])
def test_a_load_at_the_edge_does_not_swing(total: float) -> None:
    """ai-dynamo/dynamo#9294: a rule that shrinks at 80 % of the aim went 2 ↔ 1."""
    running = Running(2)
    numbers = [running.step(total * (1 + 0.01 * math.sin(step))) for step in range(480)]
    assert changes(numbers) <= 1


def test_a_pod_that_waits_for_a_node_is_not_put_to_sleep() -> None:
    """kserve/kserve#1247: scale to zero while the pod still waited for a GPU node."""
    asleep = {"autoscaling": {"mode": "Active", "replicas": 1}}
    fleet = Fleet(make(replicas=1, minReplicas=0, idleSeconds=30, status=asleep), ready=0, starting=1)
    assert {fleet.scale(make_look(())).replicas for _ in range(100)} == {1}


def test_the_way_to_zero_goes_through_one() -> None:
    """kedacore/keda#7770: the cooldown jumped from N to 0, past the policies of the HPA."""
    running = Running(6, minReplicas=0, idleSeconds=60)
    numbers = [running.step(0.0) for _ in range(80)]
    assert numbers[-1] == 0
    assert numbers[numbers.index(0) - 1] == 1


def test_a_model_that_never_loads_asks_for_no_more_servers() -> None:
    """A service that cannot become ready has no load to follow, and says why it stands still."""
    fleet = Fleet(make(replicas=3), ready=0, starting=3)
    found = [fleet.scale(make_look(())) for _ in range(100)]
    assert {one.replicas for one in found} == {3}
    assert found[-1].trouble is not None
    assert found[-1].trouble[0] == memories.PODS_OVERDUE


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"served": 1e9}, id="absurdly much"),
        pytest.param({"served": 0.0, "pending": 1e9}, id="a backlog without requests"),
        pytest.param({"served": 5.0, "latency_s": 1e6}, id="an absurd latency"),
        pytest.param({"served": 5.0, "queue_s": 1e9, "busy": 1e9}, id="absurd waits"),
    ],
)
def test_forged_series_stay_within_the_bounds(fields: dict[str, float]) -> None:
    """Whoever writes a pod's series can move its own service, and only within its own bounds."""
    running = Running(
        3, minReplicas=2, maxReplicas=5, targets=[*WAIT, {"signal": "PendingRequests", "value": 4}]
    )
    forged = {("default", pod.name): make_sample(**fields) for pod in running.pods}
    for number in range(40):
        found = running.scale(samples.Look(number + 1, 0.0, forged))
        assert 2 <= found.replicas <= 5


def test_switching_modes_at_forty_changes_none() -> None:
    """kserve/kserve#3768: two writers of one number, 41 flips in 14 minutes."""
    numbers = set()
    for mode in ("Advisory", "Active", "Advisory"):
        fleet = Fleet(make(replicas=40, mode=mode, maxReplicas=100, targets=RATE), ready=40)
        numbers |= {fleet.scale(served=20.0).replicas for _ in range(20)}
    assert numbers == {40}


def test_what_sleeps_says_what_callers_see() -> None:
    """kubernetes/website#56290: a Service does not buffer, and nobody says so."""
    assert "callers are refused the connection" in sleep.describe_zero(42.0)
    assert scaler.STEADY not in sleep.describe_zero(42.0)
