"""What waits: refused pods where they could go, refused services and jobs, and what does not count."""

from __future__ import annotations

from typing import Any

import pytest

from gpufleet.api import reasons, triton_service
from gpufleet.decide.mig.repartition import demand
from gpufleet.decide.placement import accelerators
from gpufleet.decide.placement.slices import judging
from gpufleet.state import fleet
from tests import builders
from tests.unit.gpufleet.decide.mig.repartition import builders_mig as b

A100 = "NVIDIA-A100-SXM4-80GB"
NODES = [
    b.read(b.make_node({b.ONE: 7}, name="h")),
    b.read(b.make_node({b.ONE: 7}, name="a", product=A100, taints=(fleet.Taint("team", "x", "NoSchedule"),))),
    b.read(b.make_node({"1g.6gb": 4}, name="small", product="NVIDIA-A30")),
]
BOTH, H = frozenset({"h", "a"}), frozenset({"h"})
ANY = fleet.Constraints(tolerations=(fleet.Toleration(operator="Exists"),))


def refused(name: str = "w", resource: str = b.SLICE, count: int = 1, **fields: Any) -> fleet.Pod:
    base = {"unschedulable_message": "0/3 nodes", "requests": {resource: count}, "constraints": ANY}
    return builders.make_pod(name, **(base | fields))


def read(*pods: fleet.Pod, **more: Any) -> list[tuple[str, int, frozenset[str]]]:
    found = demand.read(builders.make_snapshot(pods=pods, **more), NODES, {})
    return [(one.profile, one.count, one.nodes) for one in found.slices]


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        pytest.param([], [], id="nobody"),
        pytest.param([refused()], [(b.ONE, 1, BOTH)], id="a pod"),
        pytest.param([refused("a"), refused("b", count=2)], [(b.ONE, 3, BOTH)], id="alike are added up"),
        pytest.param(
            [refused(constraints=fleet.Constraints())], [(b.ONE, 1, H)], id="without the toleration"
        ),
        pytest.param(
            [refused(resource="nvidia.com/mig-1g.6gb")], [("1g.6gb", 1, frozenset({"small"}))], id="an A30"
        ),
        pytest.param([refused(resource="nvidia.com/mig-9g.1gb")], [], id="no device has it"),
        pytest.param([refused(unschedulable_message="")], [], id="not refused yet"),
        pytest.param([refused(node="h")], [], id="it has a node"),
        pytest.param([refused(deleting=True)], [], id="it goes"),
        pytest.param([refused(resource=builders.GPU)], [], id="a whole GPU"),
    ],
)
def test_pods(pods: list[fleet.Pod], expected: list[Any]) -> None:
    assert read(*pods) == expected


def test_whole_gpus_are_waited_for_where_such_a_pod_could_go() -> None:
    view = builders.make_snapshot(pods=[refused(resource=builders.GPU, constraints=fleet.Constraints())])
    assert demand.read(view, NODES, {}).whole == {"h", "small"}


def make_service(block: dict[str, Any], **status: Any) -> Any:
    service = builders.make_service(accelerator=block, replicas=3)
    assert service.spec.accelerator is not None
    given = {"replicas": 3, "requested": accelerators.describe(service.spec.accelerator), **status}
    return builders.make_service(accelerator=block, replicas=3, status={"assignment": given})


LACKS = {"reason": reasons.NO_MATCHING_ACCELERATOR}
HAS = {"accelerator": {"resource": b.SLICE, "count": 1}}


@pytest.mark.parametrize(
    ("block", "status", "expected"),
    [
        pytest.param({"migProfile": b.THREE}, LACKS, [(b.THREE, 3, BOTH)], id="a profile"),
        pytest.param({"migProfile": b.THREE, "class": "h100"}, LACKS, [(b.THREE, 3, H)], id="of a class"),
        pytest.param({"memory": "11Gi"}, LACKS, [("2g.12gb", 3, frozenset({"small"}))], id="by memory"),
        pytest.param({"memory": "900Gi"}, LACKS, [], id="more memory than any has"),
        pytest.param({"count": 1}, LACKS, [], id="whole devices"),
        pytest.param({"migProfile": b.ONE}, HAS, [], id="it has what it asks for"),
        pytest.param(
            {"migProfile": b.ONE}, {**LACKS, "requested": "other"}, [], id="answered for another block"
        ),
    ],
)
def test_services(block: dict[str, Any], status: dict[str, Any], expected: list[Any]) -> None:
    assert read(services=[make_service(block, **status)]) == expected


@pytest.mark.parametrize(
    ("block", "choice", "expected"),
    [
        pytest.param({"memory": "8Gi"}, {"reason": judging.LACKING}, [(b.ONE, 3, BOTH)], id="it would move"),
        pytest.param(
            {"memory": "8Gi", "class": "h100"}, {"reason": judging.LACKING}, [(b.ONE, 3, H)], id="of a class"
        ),
        pytest.param({"memory": "8Gi"}, {"reason": judging.CHEAPER}, [], id="it is only told"),
        pytest.param(
            {"memory": "8Gi"}, {"reason": judging.LACKING, "resource": builders.GPU}, [], id="a whole device"
        ),
    ],
)
def test_slices_that_a_service_would_move_to(
    block: dict[str, Any], choice: dict[str, Any], expected: list[Any]
) -> None:
    service = make_service(block, accelerator={"resource": "nvidia.com/mig-3g.40gb", "count": 1})
    told = triton_service.SliceChoice.model_validate({"resource": b.SLICE, "servers": 3, **choice})
    status = service.status.model_copy(update={"slice_choice": told})
    assert read(services=[service.model_copy(update={"status": status})]) == expected


def make_job(given: dict[str, Any], **spec: Any) -> Any:
    block = {"migProfile": b.THREE}
    requested = accelerators.describe(make_service(block).spec.accelerator)
    wanted = {"framework": "Plain", "workers": {"min": 2, "max": 4}, "accelerator": block, **spec}
    assignment = {"workers": 0, "requested": requested, "reason": reasons.INSUFFICIENT_CAPACITY, **given}
    return builders.make_job(**wanted, status={"assignment": assignment})


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        pytest.param(make_job({}), [(b.THREE, 2, BOTH)], id="a gang at its smallest"),
        pytest.param(make_job({"workers": 2}), [], id="admitted"),
        pytest.param(make_job({"reason": "UnknownDeviceClass"}), [], id="refused for another reason"),
        pytest.param(make_job({}, suspend=True), [], id="suspended"),
        pytest.param(make_job({}, framework="Torch"), [], id="slices have no peer-to-peer transport"),
    ],
)
def test_jobs(job: Any, expected: list[Any]) -> None:
    assert read(jobs=[job]) == expected


def needs(key: str, operator: str, *values: str) -> fleet.Constraints:
    return fleet.Constraints(((fleet.Requirement(key, operator, values),),))


@pytest.mark.parametrize(
    ("constraints", "fits"),
    [
        pytest.param(fleet.Constraints(), True, id="anywhere"),
        pytest.param(needs("gpufleet.dev/pool", "In", "x", "h100"), True, id="in"),
        pytest.param(needs("gpufleet.dev/pool", "In", "x"), False, id="not in"),
        pytest.param(needs("gpufleet.dev/pool", "NotIn", "x"), True, id="a label that is another"),
        pytest.param(needs("none", "NotIn", "x"), True, id="a label that is not there"),
        pytest.param(needs("none", "Exists"), False, id="exists"),
        pytest.param(needs("none", "DoesNotExist"), True, id="does not exist"),
        pytest.param(needs("size", "Gt", "3"), True, id="greater"),
        pytest.param(needs("size", "Lt", "3"), False, id="less"),
        pytest.param(needs("size", "Lt", "many"), False, id="no number"),
    ],
)
def test_where_a_pod_may_go(constraints: fleet.Constraints, fits: bool) -> None:
    node = b.make_node({}, labels={"size": "4"}, taints=b.FENCE)
    assert demand.fits(constraints, node) is fits, "our own fence does not count"


@pytest.mark.parametrize(
    ("toleration", "accepted"),
    [
        pytest.param(fleet.Toleration("team", "Equal", "x"), True, id="equal"),
        pytest.param(fleet.Toleration("team", "Equal", "y"), False, id="another value"),
        pytest.param(fleet.Toleration("team", "Exists"), True, id="exists"),
        pytest.param(fleet.Toleration("team", "Exists", effect="NoExecute"), False, id="another effect"),
        pytest.param(fleet.Toleration(operator="Exists"), True, id="everything"),
        pytest.param(fleet.Toleration(), False, id="nothing"),
    ],
)
def test_taints(toleration: fleet.Toleration, accepted: bool) -> None:
    assert toleration.accepts(fleet.Taint("team", "x", "NoSchedule")) is accepted


def test_what_one_pool_serves_waits_no_more_for_another() -> None:
    waiting = demand.Demand((demand.Waiting(b.ONE, 5, BOTH), demand.Waiting(b.THREE, 1, H)))
    left = demand.take(waiting, {b.ONE: 2, b.THREE: 9}, frozenset({"h"}))
    assert left.slices == (demand.Waiting(b.ONE, 3, BOTH),)
    assert demand.take(waiting, {b.ONE: 2}, frozenset({"elsewhere"})) == waiting
