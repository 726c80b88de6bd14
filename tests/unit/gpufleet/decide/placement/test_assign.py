from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from gpufleet.api import reasons, training_job, triton_service
from gpufleet.decide.placement import assign as assigning
from gpufleet.state import fleet, snapshot
from tests import builders
from tests.builders import (
    GPU,
    H100,
    NOW,
    make_job,
    make_node,
    make_pool,
    make_service,
    make_service_pod,
    make_snapshot,
    make_worker,
)

EIGHT = {"count": 8}
ASSIGNED = {"resource": GPU, "count": 8, "products": []}


def admitted(workers: int, accelerator: dict[str, Any] = ASSIGNED, **fields: Any) -> dict[str, Any]:
    return {"assignment": {"workers": workers, "accelerator": accelerator, "requested": "count=8", **fields}}


def gang(
    name: str = "llm", workers: int = 2, at_least: int | None = None, **fields: Any
) -> training_job.TrainingJob:
    size = {"max": workers} | ({"min": at_least} if at_least else {})
    return make_job(name, **{"workers": size, "accelerator": EIGHT, **fields})


def read(view: snapshot.Snapshot) -> dict[str, dict[str, Any]]:
    return {one.name: dict(one.value) for one in assigning.assign(view, {}, NOW)}


def workers_of(view: snapshot.Snapshot) -> dict[str, int]:
    return {name: value["workers"] for name, value in read(view).items()}


def follow(view: snapshot.Snapshot) -> snapshot.Snapshot:
    """The snapshot once all assignments were written."""
    changed = {(one.kind, one.namespace, one.name): one.value for one in assigning.assign(view, {}, NOW)}

    def apply(subject: Any, kind: str, model: Any) -> Any:
        value = changed.get((kind, subject.metadata.namespace, subject.metadata.name))
        if value is None:
            return subject
        status = subject.status.model_copy(update={"assignment": model.model_validate(value)})
        return subject.model_copy(update={"status": status})

    return dataclasses.replace(
        view,
        services=tuple(
            apply(one, triton_service.KIND, triton_service.ServiceAssignment) for one in view.services
        ),
        jobs=tuple(apply(one, training_job.KIND, training_job.JobAssignment) for one in view.jobs),
    )


@pytest.mark.parametrize(
    ("service", "live", "replicas"),
    [
        pytest.param(make_service(), {}, 1, id="at first one"),
        pytest.param(make_service(replicas=0), {}, 0, id="none as asked"),
        pytest.param(make_service(replicas=7), {"uid-vision": 3}, 7, id="as asked"),
        pytest.param(make_service(), {"uid-vision": 40}, 40, id="a lost assignment comes from what lives"),
        pytest.param(make_service(), {"uid-vision": 0}, 0, id="and so does zero"),
    ],
)
def test_replicas(service: triton_service.TritonService, live: dict[str, int], replicas: int) -> None:
    assert read(make_snapshot(services=[service], live_replicas=live))["vision"]["replicas"] == replicas


def test_unset_replicas_stay_as_last_assigned() -> None:
    service = make_service(status={"assignment": {"replicas": 9, "requested": "none"}})
    assert read(make_snapshot(services=[service], live_replicas={"uid-vision": 3})) == {}


def test_what_was_chosen_stays_until_the_block_changes() -> None:
    before = make_snapshot(
        [make_node("a", {GPU: 8, "nvidia.com/mig-1g.5gb": 7})],
        services=[make_service(accelerator={"memory": "4Gi"})],
    )
    settled = follow(before)
    recut = dataclasses.replace(settled, nodes=(make_node("a", {GPU: 8}),))
    assert read(recut) == {}
    [service] = settled.services
    changed = service.model_copy(update={"spec": make_service(accelerator={"memory": "6Gi"}).spec})
    assert read(dataclasses.replace(recut, services=(changed,)))["vision"]["accelerator"]["resource"] == GPU


def test_what_nothing_answers_says_so_and_keeps_its_replicas() -> None:
    service = make_service(
        accelerator={"class": "h100"}, status={"assignment": {"replicas": 4, "requested": "none"}}
    )
    value = read(make_snapshot([make_node("a")], services=[service]))["vision"]
    assert (value["replicas"], value["reason"]) == (4, reasons.NO_MATCHING_ACCELERATOR)
    assert "accelerator" not in value


NODES = [make_node("a"), make_node("b")]
BUSY = fleet.Pod("u", "other", "foreign", node="a", phase="Running", requests={GPU: 1})
GPUS = {GPU: 8}


@pytest.mark.parametrize(
    ("jobs", "pods", "expected"),
    [
        pytest.param([gang()], [], {"llm": 2}, id="fits"),
        pytest.param([gang(workers=3)], [], {"llm": 0}, id="all or none"),
        pytest.param([gang(workers=3, at_least=1)], [], {"llm": 2}, id="as many as fit"),
        pytest.param([gang()], [BUSY], {"llm": 0}, id="a foreign pod is in the way"),
        pytest.param([gang(at_least=1)], [BUSY], {"llm": 1}, id="the rest will do"),
        pytest.param(
            [gang()],
            [dataclasses.replace(BUSY, phase="Succeeded")],
            {"llm": 2},
            id="a pod that has ended holds nothing",
        ),
        pytest.param(
            [gang()],
            [dataclasses.replace(BUSY, deleting=True)],
            {"llm": 0},
            id="one on its way out still does",
        ),
        pytest.param(
            [gang("z", created_s=-9.0), gang("a")], [], {"z": 2, "a": 0}, id="first come, first served"
        ),
        pytest.param([gang("z"), gang("a")], [], {"a": 2, "z": 0}, id="then by name"),
        pytest.param(
            [gang("big", workers=3, created_s=-9.0), gang("small", workers=1)],
            [],
            {"big": 0, "small": 1},
            id="a gang that cannot start holds up no other",
        ),
        pytest.param(
            [gang("cpu", accelerator=None, workers=99)], [], {"cpu": 99}, id="without accelerator at once"
        ),
        pytest.param(
            [gang("first", status=admitted(1)), gang("second", workers=1)],
            [],
            {"second": 1},
            id="what is admitted is booked before its pods are there",
        ),
        pytest.param(
            [gang("first", status=admitted(2)), gang("second", workers=1)],
            [],
            {"second": 0},
            id="and nothing twice",
        ),
        pytest.param(
            [gang("first", status=admitted(1)), gang("second", workers=1)],
            [make_worker("first-0", "first", node="a", phase="Running", requests=GPUS)],
            {"second": 1},
            id="nor when its pods are there",
        ),
        pytest.param(
            [gang("first", status={"attempt": 1, **admitted(2)}), gang("second", workers=1)],
            [
                make_worker("first-0", "first", node="a", phase="Failed", requests=GPUS),
                make_worker("first-1", "first", node="b", phase="Failed", requests=GPUS),
            ],
            {"second": 0},
            id="a gang between two attempts keeps its places",
        ),
        pytest.param(
            [gang("first", status={"attempt": 1, **admitted(2)}), gang("second", workers=1)],
            [
                make_worker("first-0", "first", node="a", phase="Succeeded", requests=GPUS),
                make_worker("first-1", "first", node="b", phase="Running", requests=GPUS),
            ],
            {"second": 1},
            id="a worker that ended well frees its place",
        ),
        pytest.param(
            [
                gang(
                    "first",
                    status={
                        **admitted(2),
                        "conditions": [
                            builders.make_condition("Succeeded", "True", reasons.COMPLETED).to_wire()
                        ],
                    },
                ),
                gang("second"),
            ],
            [],
            {"second": 2},
            id="a job that has ended holds nothing",
        ),
    ],
)
def test_gangs(jobs, pods, expected) -> None:
    assert workers_of(make_snapshot(NODES, pods, jobs=jobs)) == expected


@pytest.mark.parametrize(
    ("replicas", "pods", "expected"),
    [
        pytest.param(0, [], 1, id="none"),
        pytest.param(1, [], 1, id="one, its pod is not there yet"),
        pytest.param(2, [], 0, id="two, their pods are not there yet"),
        pytest.param(
            1, [make_service_pod("v-0", node="a", requests=GPUS)], 1, id="one that runs counts once"
        ),
        pytest.param(
            1,
            [make_service_pod("v-0", node="a", requests=GPUS), make_service_pod("v-1", requests=GPUS)],
            0,
            id="during a rollout the next one counts too",
        ),
        pytest.param(
            1,
            [make_service_pod("v-0", node="a", requests={GPU: 1})],
            1,
            id="one of an older need has its place; a rollout asks for more",
        ),
    ],
)
def test_servers_are_booked_before_gangs_in_the_same_pass(
    replicas: int, pods: list[fleet.Pod], expected: int
) -> None:
    service = make_service(replicas=replicas, accelerator=EIGHT)
    view = make_snapshot(NODES, pods, services=[service], jobs=[gang(workers=1)])
    assert read(view)["llm"]["workers"] == expected


@pytest.mark.parametrize(
    ("nodes", "job", "expected"),
    [
        pytest.param([make_node("a", unschedulable=True)], gang(workers=1), 0, id="a cordoned node"),
        pytest.param([make_node("a", ready=False)], gang(workers=1), 0, id="a node that is not Ready"),
        pytest.param(
            [make_node("a", product=H100)],
            gang(workers=1, accelerator={"class": "h100", "count": 8}),
            1,
            id="the class",
        ),
        pytest.param(
            [make_node("a"), make_node("h", product=H100)],
            gang(workers=2, accelerator={"class": "h100", "count": 8}),
            0,
            id="another class does not count",
        ),
        pytest.param(
            [make_node("a"), make_node("x", pool="other")],
            gang(workers=2),
            0,
            id="nodes of another pool do not count",
        ),
    ],
)
def test_only_nodes_that_take_the_pods_count(nodes, job, expected) -> None:
    view = make_snapshot(nodes, jobs=[job], pools=[make_pool("a100")])
    assert workers_of(view) == {"llm": expected}


def test_a_gang_never_gets_slices() -> None:
    nodes = [make_node("a", {GPU: 8, "nvidia.com/mig-1g.5gb": 7})]
    jobs = [
        make_job("torch", framework="Torch", accelerator={"memory": "4Gi"}),
        make_job("plain", accelerator={"memory": "4Gi"}),
    ]
    found = read(make_snapshot(nodes, jobs=jobs))
    assert found["torch"]["accelerator"]["resource"] == GPU
    assert found["plain"]["accelerator"]["resource"] == "nvidia.com/mig-1g.5gb"


@pytest.mark.parametrize(
    ("workers", "pods", "reason", "words"),
    [
        pytest.param(
            3,
            [],
            "ExceedsFleet",
            ["needs 3 workers with 8 × nvidia.com/gpu", "room for 2", "add nodes"],
            id="never",
        ),
        pytest.param(
            2,
            [BUSY],
            "InsufficientCapacity",
            ["needs 2 workers", "room for 2", "others hold", "wait"],
            id="not now",
        ),
    ],
)
def test_a_gang_that_waits_says_what_it_lacks(
    workers: int, pods: list[fleet.Pod], reason: str, words: list[str]
) -> None:
    value = read(make_snapshot(NODES, pods, jobs=[gang(workers=workers)]))["llm"]
    assert value["reason"] == reason
    assert [word for word in words if word not in value["message"]] == []


def test_a_gang_that_waits_follows_the_fleet() -> None:
    """Nothing of it runs yet, so it takes what the fleet offers by now."""
    job = make_job(accelerator={"memory": "4Gi"}, workers={"max": 4})
    waiting = follow(make_snapshot([make_node("a", {"nvidia.com/mig-1g.5gb": 2})], jobs=[job]))
    assert waiting.jobs[0].status.assignment is not None
    assert waiting.jobs[0].status.assignment.workers == 0
    found = read(dataclasses.replace(waiting, nodes=(make_node("a", {GPU: 4}),)))
    assert (found["llm"]["workers"], found["llm"]["accelerator"]["resource"]) == (4, GPU)


def test_a_queue_that_moves_writes_nothing() -> None:
    more = dataclasses.replace(BUSY, uid="v", name="another", node="b")
    settled = follow(make_snapshot(NODES, [BUSY], jobs=[gang()]))
    assert read(dataclasses.replace(settled, pods=(BUSY, more))) == {}


def test_a_lost_assignment_of_a_running_gang_comes_back_before_others_are_served() -> None:
    pods = [make_worker("old-0", "old", node="a", phase="Running", requests=GPUS)]
    jobs = [gang("new", workers=1, created_s=-9.0), gang("old", workers=4, at_least=1, status={"attempt": 1})]
    view = make_snapshot(NODES, pods, jobs=jobs, live_workers={"uid-old": 2})
    assert workers_of(view) == {"old": 2, "new": 0}


@st.composite
def snapshots(draw: st.DrawFn, counts: tuple[int, ...] = (1, 2, 8)) -> snapshot.Snapshot:
    """Small fleets in any state: assignments made, lost or to be made, pods of admitted gangs on any node."""
    nodes = [
        make_node(f"n{index}", {GPU: draw(st.integers(0, 8))}) for index in range(draw(st.integers(0, 4)))
    ]
    jobs, pods, live = [], [], {}
    for index in range(draw(st.integers(0, 5))):
        count, size = draw(st.sampled_from(counts)), draw(st.integers(1, 4))
        status: dict[str, Any] = {}
        if draw(st.booleans()):
            need = {"resource": GPU, "count": count, "products": []}
            status = {"assignment": {"workers": size, "accelerator": need, "requested": f"count={count}"}}
        elif draw(st.booleans()):
            live[f"uid-j{index}"] = draw(st.integers(1, 4))
        workers = {"min": draw(st.integers(1, size)), "max": size}
        jobs.append(make_job(f"j{index}", workers=workers, accelerator={"count": count}, status=status))
        is_admitted = bool(status) or f"uid-j{index}" in live
        for worker in range(draw(st.integers(0, 2)) if nodes and is_admitted else 0):
            phase = draw(st.sampled_from(["Pending", "Running", "Succeeded", "Failed"]))
            node = draw(st.sampled_from(nodes)).name
            pods.append(
                make_worker(f"j{index}-{worker}", f"j{index}", node=node, phase=phase, requests={GPU: count})
            )
    services = [
        make_service(
            f"s{index}",
            replicas=draw(st.integers(0, 4)),
            accelerator={"count": draw(st.sampled_from(counts))},
        )
        for index in range(draw(st.integers(0, 2)))
    ]
    return make_snapshot(nodes, pods, jobs=jobs, services=services, live_workers=live)


@how(max_examples=150, deadline=None)
@given(snapshots())
def test_newly_admitted_gangs_fit_beside_what_pods_hold(view: snapshot.Snapshot) -> None:
    """Each gang fits on single nodes, and all together into what pods leave free."""
    free = Counter({node.name: node.allocatable.get(GPU, 0) for node in view.nodes})
    for pod in view.pods:
        if not pod.is_terminal:
            free[pod.node] -= pod.requests[GPU]
    room = sum(max(0, count) for count in free.values())
    for job in follow(view).jobs:
        before = next(one for one in view.jobs if one.metadata.uid == job.metadata.uid).status.assignment
        given_ = job.status.assignment
        if before or job.metadata.uid in view.live_workers or not given_ or not given_.workers:
            continue
        assert (job.spec.workers.min or job.spec.workers.max) <= given_.workers <= job.spec.workers.max
        count = given_.accelerator.count if given_.accelerator else 0
        assert given_.workers <= sum(max(0, one) // count for one in free.values())
        room -= given_.workers * count
    assert room >= 0


@how(max_examples=100, deadline=None)
@given(snapshots())
def test_the_same_fleet_gives_the_same_assignments(view: snapshot.Snapshot) -> None:
    assert assigning.assign(view, {}, NOW) == assigning.assign(view, {}, NOW)


@how(max_examples=150, deadline=None)
@given(snapshots(counts=(2,)))
def test_what_was_written_is_not_written_again(view: snapshot.Snapshot) -> None:
    """A gang that gives back what it never got leaves room to the pass after."""
    assert assigning.assign(follow(follow(view)), {}, NOW) == ()


@how(max_examples=100, deadline=None)
@given(snapshots())
def test_a_fleet_at_rest_comes_to_rest(view: snapshot.Snapshot) -> None:
    """Needs of different sizes may pack otherwise once they are assigned, which can make room for more."""
    for _ in view.jobs:
        view = follow(view)
    assert assigning.assign(follow(view), {}, NOW) == ()
