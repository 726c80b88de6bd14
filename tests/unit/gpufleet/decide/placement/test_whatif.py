"""The same decision at another load, with nothing changed by asking."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet.api import triton_service
from gpufleet.decide.autoscaling import memories, policy, scaler, sleep
from gpufleet.decide.placement import brakes, whatif
from gpufleet.state import samples
from tests.builders import GPU, make_job, make_node
from tests.unit.gpufleet.decide.autoscaling.builders import make_look
from tests.unit.gpufleet.decide.autoscaling.test_memories import CARRIES, Fleet, make, outage

ONE = {"resource": GPU, "count": 1, "products": []}
NEVER = {"scaleUp": {"selectPolicy": "Disabled"}, "scaleDown": {"selectPolicy": "Disabled"}}
SLOW = {
    "scaleUp": {
        "stabilizationWindowSeconds": 3600,
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
    }
}


class Seen:
    """A service of two servers, each with so many requests per second, after a number of looks."""

    def __init__(
        self, service: triton_service.TritonService, look: samples.Look | None = None, **fields: Any
    ) -> None:
        replicas = service.status.assignment.replicas if service.status.assignment else 0
        self.fleet = Fleet(service, ready=replicas)
        self.look = look or make_look(tuple(self.fleet.pods), number=9, **fields)
        for _ in range(5):
            self.found = self.fleet.look(self.look)
        questions = memories.scale_all(self.fleet.view(), self.look, {}, self.fleet.now).questions
        self.answers = dict.fromkeys(questions, CARRIES)

    def present(self, gpus: int = 0, limits: brakes.Limits = brakes.NONE) -> whatif.Present:
        view = self.fleet.view()
        if gpus:
            view = dataclasses.replace(view, nodes=(make_node("n1", {GPU: gpus}),))
        return whatif.Present(view, self.look, self.found, self.answers, limits, self.fleet.now)

    def ask(self, rate: float, **around: Any) -> whatif.Supposed:
        found = whatif.what_if(self.fleet.service, rate, self.present(**around))
        assert found is not None
        return found


def with_gpu(**scaling: Any) -> triton_service.TritonService:
    assigned = {"replicas": 2, "accelerator": ONE, "requested": "count=1"}
    made = make(status={"assignment": assigned}, **scaling)
    block = triton_service.TritonServiceSpec.model_validate(
        made.spec.to_wire() | {"accelerator": {"count": 1}}
    )
    return made.model_copy(update={"spec": block})


@pytest.mark.parametrize(
    ("rate", "scaling", "replicas", "reasons"),
    [
        pytest.param(1.0, {}, 2, [], id="as it is"),
        pytest.param(2.0, {}, 4, [], id="twice the load"),
        pytest.param(100.0, {}, 40, [scaler.AT_MAXIMUM], id="more than the most"),
        pytest.param(0.4, {}, 1, [], id="less: windows do not count"),
        pytest.param(0.0, {}, 1, [scaler.AT_MINIMUM], id="nobody asks"),
        pytest.param(0.0, {"minReplicas": 0}, 0, [], id="nobody asks for long enough"),
        pytest.param(3.0, {"behavior": SLOW}, 6, [], id="rates do not count"),
        pytest.param(3.0, {"behavior": NEVER}, 2, ["ScaleUpDisabled"], id="what is disabled stays so"),
        pytest.param(0.0, {"behavior": NEVER}, 2, [scaler.AT_MINIMUM, "ScaleDownDisabled"], id="both ways"),
        pytest.param(2.0, {"mode": "Advisory"}, 4, [], id="advisory"),
    ],
)
def test_the_number_at_another_load(
    rate: float, scaling: dict[str, Any], replicas: int, reasons: list[str]
) -> None:
    """40 requests per second come to two servers that carry 20 each."""
    found = Seen(make(**scaling), served=20.0).ask(rate).decision
    assert (found.before, found.replicas) == (2, replicas)
    assert [one.reason for one in found.clamps] == reasons
    assert found.demand is not None
    assert (found.demand.offered, found.demand.capacity) == (40.0 * rate, CARRIES)


@pytest.mark.parametrize(
    ("gpus", "limits", "replicas", "reason"),
    [
        pytest.param(8, brakes.NONE, 8, scaler.SCALED_UP, id="room for all"),
        pytest.param(3, brakes.NONE, 3, scaler.NO_ROOM, id="room for one"),
        pytest.param(2, brakes.NONE, 2, scaler.NO_ROOM, id="a full fleet"),
        pytest.param(8, brakes.Limits(surge_gpus=1.0), 3, scaler.SURGE_LIMIT, id="a surge limit"),
    ],
)
def test_the_fleet_has_its_say(gpus: int, limits: brakes.Limits, replicas: int, reason: str) -> None:
    seen = Seen(with_gpu(targets=[{"signal": "RequestRate", "value": 20}]), served=20.0)
    seen.fleet.pods = [dataclasses.replace(pod, node="n1", requests={GPU: 1}) for pod in seen.fleet.pods]
    found = seen.ask(4.0, gpus=gpus, limits=limits).decision
    assert (found.wanted, found.replicas) == (8, replicas)
    assert reason in {found.reason, *(one.reason for one in found.clamps)}


@pytest.mark.parametrize(
    ("job", "replicas"),
    [
        pytest.param({}, 4, id="a gang of the cycle's keeps its places"),
        pytest.param(
            {"queue": {"kind": "LocalQueue", "name": "team"}}, 8, id="one that a queue holds has none"
        ),
        pytest.param({"suspend": True}, 8, id="nor has a suspended one"),
    ],
)
def test_gangs_count_as_in_the_cycle(job: dict[str, Any], replicas: int) -> None:
    given = {"workers": 4, "requested": "count=1", "accelerator": ONE}
    gang = make_job(workers={"max": 4}, accelerator={"count": 1}, status={"assignment": given}, **job)
    seen = Seen(with_gpu(targets=[{"signal": "RequestRate", "value": 20}]), served=20.0)
    seen.fleet.pods = [dataclasses.replace(pod, node="n1", requests={GPU: 1}) for pod in seen.fleet.pods]
    present = seen.present(8)
    present = dataclasses.replace(present, view=dataclasses.replace(present.view, jobs=(gang,)))
    found = whatif.what_if(seen.fleet.service, 4.0, present)
    assert found is not None
    assert found.decision.replicas == replicas


@pytest.mark.parametrize(
    ("scaling", "rate", "fields", "said"),
    [
        pytest.param({}, 2.0, {}, [], id="all is known"),
        pytest.param(
            {"targets": [{"signal": "QueueWait", "value": 50}, {"signal": "RequestRate", "value": 30}]},
            2.0,
            {},
            ["how QueueWait follows the load is not known: it was weighed with its present value"],
            id="waits",
        ),
        pytest.param({"targets": [{"signal": "QueueWait", "value": 50}]}, 1.0, {}, [], id="no other load"),
        pytest.param({"targets": [{"signal": "QueueWait", "value": 50}]}, 0.0, {}, [], id="nobody waits"),
        pytest.param(
            {},
            2.0,
            {"shed": 1.0},
            ["refused requests were multiplied with the others: how many would be refused is not known"],
            id="refused",
        ),
    ],
)
def test_what_is_not_known_is_said(
    scaling: dict[str, Any], rate: float, fields: dict[str, float], said: list[str]
) -> None:
    assert list(Seen(make(**scaling), served=20.0, **fields).ask(rate).notes) == said


def test_a_service_that_sleeps_has_no_load_to_multiply() -> None:
    asleep = make(replicas=0, minReplicas=0)
    found = Seen(asleep, outage()).ask(2.0)
    assert (found.decision.replicas, found.decision.reason) == (0, sleep.ASLEEP)
    assert found.notes == ("no server runs, so no load is seen that could be multiplied",)


def test_an_outage_is_no_load_either() -> None:
    found = Seen(make(), outage()).ask(0.0).decision
    assert found.replicas == 2
    assert [one.reason for one in found.clamps] == [policy.NO_EVIDENCE]


def test_nothing_is_decided_before_prometheus_was_asked() -> None:
    seen = Seen(make(), served=20.0)
    early = dataclasses.replace(seen.present(), look=samples.NOT_ASKED)
    assert whatif.what_if(seen.fleet.service, 2.0, early) is None


def test_nothing_is_decided_of_a_service_that_is_not_scaled() -> None:
    seen = Seen(make(mode="Off"), served=20.0)
    assert whatif.what_if(seen.fleet.service, 2.0, seen.present()) is None


SEEN = Seen(make(targets=[{"signal": "BusyPercent", "value": 60}]), served=20.0, busy=0.5)


@given(rate=st.floats(0, whatif.MOST), more=st.floats(0, whatif.MOST))
def test_more_load_never_needs_fewer_and_asking_changes_nothing(rate: float, more: float) -> None:
    present = SEEN.present()
    before = copy.deepcopy(present)
    low, high = (whatif.what_if(SEEN.fleet.service, one, present) for one in sorted((rate, more)))
    assert low is not None
    assert high is not None
    assert low.decision.replicas <= high.decision.replicas
    assert present == before
