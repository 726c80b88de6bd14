"""Passes over services with what Prometheus and the API server show of them."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

import pytest

from gpufleet.api import triton_service
from gpufleet.decide.autoscaling import behavior, memories, policy, rehearsal, scaler, sleep
from gpufleet.state import fleet, samples, snapshot
from tests.builders import NOW, make_service, make_service_pod, make_snapshot
from tests.unit.gpufleet.decide.autoscaling.builders import make_look
from tests.unit.gpufleet.decide.autoscaling.test_capacity import profile

OBJECTIVE = {"latency": {"percentile": "P99", "targetMilliseconds": 50}}
MODEL = {"name": "m", "backend": "python", "maxBatchSize": 8, "batching": {}}
CARRIES = 20.0


def make(name: str = "vision", replicas: int = 2, status: Any = None, **scaling: Any):
    """Scaled by its objective, up to 40 servers."""
    given = {"assignment": {"replicas": replicas}, **(status or {})}
    scaling = {"maxReplicas": 40, "headroomPercent": 0, **scaling}
    return make_service(
        name, status=given, models=[MODEL], objective=OBJECTIVE, accelerator=None, autoscaling=scaling
    )


class Fleet:
    """One service and its servers, looked at every 15 s."""

    def __init__(
        self,
        service: triton_service.TritonService,
        ready: int = 2,
        starting: int = 0,
        start_s: float = 40.0,
    ) -> None:
        self.service = service
        self.start_s = start_s
        self.now = NOW
        self.memories: memories.Memories = {}
        self.pods = [self.make_pod(number, ready=number < ready) for number in range(ready + starting)]
        self.profiles = {service.metadata.uid: [profile()]}
        self.number = 0

    def make_pod(self, number: int, *, ready: bool) -> fleet.Pod:
        created_s = NOW.timestamp() - self.start_s
        times = {"created_s": created_s, "ready_s": created_s + self.start_s if ready else None}
        return make_service_pod(f"p{number}", self.service.metadata.name, ready=ready, **times)

    def view(self) -> snapshot.Snapshot:
        found = make_snapshot(pods=self.pods, services=[self.service])
        return dataclasses.replace(found, profiles=self.profiles)

    def look(
        self, look: samples.Look | None = None, *, answered: bool = True, **fields: Any
    ) -> memories.Pass:
        self.number += 1
        self.now += datetime.timedelta(seconds=15)
        ready = tuple(pod for pod in self.pods if pod.ready)
        seen = look or make_look(ready, number=self.number, **fields)
        questions = memories.scale_all(self.view(), seen, self.memories, self.now).questions
        answers = dict.fromkeys(questions, CARRIES) if answered else {}
        found = memories.scale_all(self.view(), seen, self.memories, self.now, answers)
        self.memories = found.memories
        return found

    def scale(self, look: samples.Look | None = None, **fields: Any) -> scaler.Scaling:
        return self.look(look, **fields).scalings[self.service.metadata.uid]


def outage() -> samples.Look:
    return samples.Look(9, 0.0, error="Prometheus answered 503")


def test_the_objective_is_weighed_and_told() -> None:
    found = Fleet(make()).scale(served=35.0)
    assert (found.replicas, found.leading) == (4, policy.OBJECTIVE)
    assert found.demand is not None
    assert (found.demand.offered, found.demand.capacity, found.demand.source) == (70.0, CARRIES, "Profile")
    assert found.aim == (
        "70 requests per second come, 70 are expected within 40 s (LastValue) and 0 more provided for; "
        "a server carries 20 with P99 within 50 ms (Profile)"
    )


@pytest.mark.parametrize(
    ("targets", "window_s"),
    [
        pytest.param([], 120, id="as rehearsed"),
        pytest.param([{"signal": "QueueWait", "value": 5}], 300, id="targets: an HPA's"),
    ],
)
def test_window_of_shrinking(targets: list[Any], window_s: int) -> None:
    known = memories.Remembered(behavior.Memory(0.0), 2, rehearsed=rehearsal.Choice(window=2))
    assert memories._find_down_window_s(make(targets=targets), known) == window_s


def test_a_steady_load_teaches_to_wait_less() -> None:
    fleet_ = Fleet(make(replicas=4), ready=4)
    for _ in range(4 * 60):
        fleet_.scale(served=15.0)
    known = fleet_.memories[fleet_.service.metadata.uid]
    assert (known.rehearsed.margin, known.rehearsed.window, known.rehearsed.missed) == (0.0, 2, 0.0)


def decision(source: str, capacity: float) -> dict[str, Any]:
    demand = {"offered": 9, "expected": 9, "horizonSeconds": 40, "capacity": capacity, "source": source}
    numbers = {"before": 2, "wanted": 2, "replicas": 2}
    return {"time": NOW, **numbers, "reason": "Steady", "message": "m", "demand": demand}


@pytest.mark.parametrize(
    ("decisions", "capacity"),
    [
        pytest.param([], None, id="nothing on record"),
        pytest.param([decision("Learnt", 12), decision("Learnt", 90)], 12.0, id="the newest counts"),
        pytest.param([decision("Profile", 40), decision("Learnt", 12)], 12.0, id="profiles are read anew"),
    ],
)
def test_what_a_server_carries_outlasts_a_restart(decisions: list[Any], capacity: float | None) -> None:
    """Servers that are not busy enough now to tell it."""
    fleet_ = Fleet(make(status={"autoscaling": {"mode": "Active", "replicas": 2, "decisions": decisions}}))
    fleet_.profiles = {}
    found = fleet_.scale(served=0.5, busy=0.01).demand
    assert (found and found.capacity) == capacity


def test_a_look_teaches_once_however_many_passes_there_are() -> None:
    fleet_ = Fleet(make())
    fleet_.scale(served=15.0)
    once = fleet_.memories[fleet_.service.metadata.uid]
    fleet_.number -= 1
    fleet_.scale(served=15.0)
    again = fleet_.memories[fleet_.service.metadata.uid]
    assert (again.look, again.history, again.learnt) == (once.look, once.history, once.learnt)


def test_a_burst_is_met_before_it_fills_the_window() -> None:
    found = Fleet(make()).scale(served=5.0, arriving=60.0)
    assert found.demand is not None
    assert (found.demand.offered, found.demand.expected, found.replicas) == (10.0, 120.0, 6)


def test_what_a_server_carries_is_asked_once_and_awaited() -> None:
    fleet_ = Fleet(make())
    found = fleet_.look(served=35.0, answered=False)
    assert [question.setting.max_batch for question in found.questions] == [8]
    scaling = found.scalings[fleet_.service.metadata.uid]
    assert [one.reason for one in scaling.clamps] == [policy.CAPACITY_UNKNOWN]
    assert scaling.replicas == 2
    assert fleet_.look(served=35.0).questions == ()


def test_a_load_that_grows_is_met_before_it_is_there() -> None:
    """An hour at one more request per second every 15 s; a server takes three minutes to start."""
    fleet_ = Fleet(make(maxReplicas=1000), start_s=170.0)
    for step in range(240):
        found = fleet_.scale(served=(100 + step) / 2)
    assert found.demand is not None
    assert found.demand.horizon_seconds == 170
    assert (found.demand.method, found.demand.expected > found.demand.offered) == ("Trend", True)


def test_servers_that_are_late_are_told_with_their_cause() -> None:
    fleet_ = Fleet(make(replicas=3), ready=2, starting=1)
    fleet_.pods[2] = dataclasses.replace(
        fleet_.pods[2], unschedulable_message="0/2 nodes are available: 2 Insufficient nvidia.com/gpu."
    )
    found = [fleet_.scale(served=25.0) for _ in range(60)]
    assert found[0].trouble is None
    assert found[-1].trouble is not None
    reason, message = found[-1].trouble
    assert reason == memories.PODS_OVERDUE
    assert message.startswith("1 of 3 servers have not become ready within")
    assert "Insufficient nvidia.com/gpu" in message


def test_asleep_and_woken() -> None:
    asleep = {"autoscaling": {"mode": "Active", "replicas": 0}}
    fleet_ = Fleet(make(replicas=0, minReplicas=0, status=asleep), ready=0)
    found = fleet_.scale(outage())
    assert (found.replicas, found.trouble and found.trouble[0]) == (0, sleep.ASLEEP)
    key = (fleet_.service.metadata.namespace, fleet_.service.metadata.name)
    found = fleet_.scale(samples.Look(2, 0.0, waiting={key: 3.0}))
    assert found.replicas == 1
    assert [one.message for one in found.clamps] == ["3 requests wait at the gateway"]


@pytest.mark.parametrize("mode", ["Active", "Advisory"])
def test_forty_servers_stay_forty(mode: str) -> None:
    """The mode was switched, the operator has restarted, and Prometheus is away."""
    fleet_ = Fleet(make(replicas=40, mode=mode, maxReplicas=100), ready=40)
    for _ in range(100):
        assert fleet_.scale(outage()).replicas == 40


def test_an_operator_that_starts_while_prometheus_was_not_asked_decides_nothing() -> None:
    fleet_ = Fleet(make())
    assert memories.scale_all(fleet_.view(), samples.NOT_ASKED, {}, NOW).scalings == {}


@pytest.mark.parametrize(
    ("moved_ago_s", "held"),
    [
        pytest.param(None, 18.0, id="it never moved"),
        pytest.param(900.0, 18.0, id="learnt on this slice"),
        pytest.param(60.0, 0.0, id="learnt on another slice"),
    ],
)
def test_what_another_slice_has_taught_is_not_recalled(moved_ago_s: float | None, held: float) -> None:
    told = {"offered": 9, "expected": 9, "horizonSeconds": 60, "capacity": 18.0, "source": "Learnt"}
    decided = {"time": NOW - datetime.timedelta(seconds=300), "before": 2, "wanted": 2, "replicas": 2}
    decisions = [{**decided, "reason": "Steady", "demand": told}]
    status: dict[str, Any] = {"autoscaling": {"mode": "Active", "replicas": 2, "decisions": decisions}}
    if moved_ago_s is not None:
        moved_at = NOW - datetime.timedelta(seconds=moved_ago_s)
        status["sliceChoice"] = {"reason": "SliceChanged", "movedAt": moved_at}
    fleet_ = Fleet(make(status=status))
    fleet_.look(served=1.0, answered=False)
    assert fleet_.memories[fleet_.service.metadata.uid].learnt.held == held


def test_another_slice_is_learnt_anew() -> None:
    fleet_ = Fleet(make())
    fleet_.look(served=10.0)
    uid = fleet_.service.metadata.uid
    known = fleet_.memories[uid]
    learnt = dataclasses.replace(known, learnt=dataclasses.replace(known.learnt, held=99.0))
    fleet_.memories = {uid: learnt}
    fleet_.look(served=10.0)
    assert fleet_.memories[uid].learnt.held == 99.0
    assigned = {"resource": "nvidia.com/mig-1g.10gb", "count": 1}
    fleet_.service = make(status={"assignment": {"replicas": 2, "accelerator": assigned}})
    fleet_.look(served=10.0)
    assert fleet_.memories[uid].learnt.held == 0.0
