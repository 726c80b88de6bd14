"""One pass over the fleet: assignments are written once, and one that cannot be holds up no other."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from gpufleet import cycle, kube, runtime, settings, worker
from gpufleet.api import meta, triton_service
from gpufleet.apply import assignments
from gpufleet.decide.autoscaling import recall
from gpufleet.decide.mig import advising, rightsizing
from gpufleet.decide.placement.slices import choosing, judging
from gpufleet.observe import cluster
from gpufleet.state import assignment, names, samples
from tests import builders, builders_api
from tests.unit.gpufleet import memory
from tests.unit.gpufleet.observe import fakes


class Case:
    """Two services that have no assignment yet."""

    def __init__(self) -> None:
        self.client = memory.MemoryClient()
        options = settings.Settings()
        self.cluster = cluster.Cluster(self.client, options, fakes.ManualClock())  # type: ignore[arg-type]
        time, searching = fakes.ManualClock(), worker.Worker(["false"])
        self.hastened: list[str] = []
        self.runtime = runtime.Runtime(
            self.client, self.cluster, options, time, searching, lambda key: self.hastened.append(key.name)
        )  # type: ignore[arg-type]
        for name in ("a", "b"):
            raw = builders_api.make_service(name, "team")
            raw["metadata"] |= {"uid": f"uid-{name}", "generation": 1}
            self.cluster.note_event("TritonService", "ADDED", self.client.add(raw))

    async def run(self) -> list[str]:
        self.client.journal.clear()
        await cycle.run_once(self.runtime)
        return self.client.written()

    def assignment(self, name: str) -> Any:
        path = kube.path(meta.API_VERSION, "TritonService", "team", name)
        return self.client.objects[path].get("status", {}).get("assignment")


def status_of(name: str) -> str:
    return kube.path(meta.API_VERSION, "TritonService", "team", name, "status")


async def test_every_object_is_assigned_once_under_the_cycles_own_name() -> None:
    case = Case()
    assert await case.run() == ["apply a/status", "apply b/status"]
    assert case.client.managers == [(names.CYCLE_FIELD_MANAGER, True)] * 2
    assert case.assignment("a")["replicas"] == 1
    assert await case.run() == []
    assert case.hastened == ["a", "b"], "what was assigned is worked on at once"


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(kube.Refused(422, "no such field"), id="refused"),
        pytest.param(kube.Conflict(409, "another uid"), id="another object by now"),
    ],
)
async def test_one_that_cannot_be_written_holds_up_no_other(error: kube.ApiError) -> None:
    case = Case()
    case.client.failing[status_of("a")] = error
    assert await case.run() == ["apply a/status", "apply b/status"]
    assert case.assignment("b") is not None
    case.client.failing.clear()
    assert await case.run() == ["apply a/status"]


async def test_an_object_that_is_no_more_holds_nothing_in_the_next_pass() -> None:
    case = Case()
    case.client.failing[status_of("a")] = kube.NotFound(404, "gone")
    await case.run()
    assert await case.run() == []
    assert [name for _, _, name in case.cluster.keys()] == ["b"]  # noqa: SIM118


async def test_an_outage_ends_the_pass() -> None:
    case = Case()
    case.client.failing[status_of("a")] = kube.Unavailable(503, "starting")
    with pytest.raises(kube.Unavailable):
        await case.run()
    case.client.failing.clear()
    assert await case.run() == ["apply a/status", "apply b/status"]


async def test_what_is_taken_is_written_before_what_is_given_and_who_waits_is_told_last() -> None:
    case = Case()
    ranks = {"b": assignment.TOLD, "a": assignment.GIVEN, "c": assignment.TAKEN}
    raw = builders_api.make_service("c", "team")
    raw["metadata"] |= {"uid": "uid-c", "generation": 1}
    case.cluster.note_event("TritonService", "ADDED", case.client.add(raw))
    wanted = [
        assignment.Assignment("TritonService", "team", name, f"uid-{name}", {"replicas": 1}, rank=rank)
        for name, rank in ranks.items()
    ]
    await cycle._write(wanted, case.runtime)
    assert case.client.written() == ["apply c/status", "apply a/status", "apply b/status"]


async def test_many_who_wait_are_told_a_few_at_a_time() -> None:
    """Nobody's start waits until all of a long queue have been told that they wait."""
    case, woken = Case(), list[str]()
    case.runtime.wake_cycle = lambda: woken.append("woken")
    await case.run()
    for number in range(40):
        raw = builders_api.make_training_job(f"job-{number:02}", "team", accelerator={"count": 1})
        raw["metadata"] |= {"uid": f"uid-{number}", "generation": 1}
        case.cluster.note_event("TrainingJob", "ADDED", case.client.add(raw))
    first = await case.run()
    assert (len(first), woken) == (32, ["woken"])
    assert (len(await case.run()), woken) == (8, ["woken"])
    assert await case.run() == []


async def test_the_past_is_taken_up_once_something_is_remembered() -> None:
    """Of services that are scaled by load; not before Prometheus was asked."""
    case = Case()
    raw = builders_api.make_service("scaled", "team", autoscaling={"maxReplicas": 3})
    raw["metadata"] |= {"uid": "uid-scaled", "generation": 1, "creationTimestamp": "1970-01-01T00:00:00Z"}
    case.cluster.note_event("TritonService", "ADDED", case.client.add(raw))
    now_s = case.runtime.clock.now().timestamp()
    minutes = [60.0 * (now_s // 60 - 9 + number) for number in range(10)]
    case.runtime.past = {("team", "scaled"): recall.build([(at_s, 5.0) for at_s in minutes])}
    await case.run()
    assert case.runtime.past, "nobody could take it up yet"
    case.runtime.look = samples.Look(1, now_s)
    await case.run()
    assert not case.runtime.past
    history = case.runtime.scaled.memories["uid-scaled"].history
    assert len(memoryview(history.loads).cast("f")) >= 9
    await case.run()
    assert len(memoryview(case.runtime.scaled.memories["uid-scaled"].history.loads).cast("f")) >= 9


SLICE = "nvidia.com/mig-1g.10gb"
LABEL = "gpufleet.dev/prefer-1g.10gb"


def add_nodes(case: Case) -> None:
    """Two nodes with idle slices, which the informer has seen."""
    for name in ("node-a", "node-b"):
        ready = [{"type": "Ready", "status": "True"}]
        raw = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": "1"},
            "status": {"allocatable": {SLICE: "14"}, "conditions": ready},
        }
        case.cluster._nodes.put(case.client.add(raw))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [pytest.param(True, ["patch nodes/node-a"], id="on"), pytest.param(False, [], id="off")],
)
async def test_nodes_that_should_be_filled_first_are_labelled(wanted: bool, expected: list[str]) -> None:
    case = Case()
    await case.run()
    case.runtime.settings = settings.Settings(mig_prefer_nodes=wanted)
    add_nodes(case)
    assert await case.run() == expected


async def test_a_node_that_cannot_be_labelled_holds_nothing_up() -> None:
    case = Case()
    add_nodes(case)
    case.client.failing[kube.path("v1", "Node", name="node-a")] = kube.Refused(403, "no right to")
    assert await case.run() == ["apply a/status", "apply b/status", "patch nodes/node-a"]


async def test_advice_on_the_slice_is_written_beside_the_assignment() -> None:
    case = Case()
    await case.run()
    wanted = builders.make_service("a", "team", status={"assignment": {"replicas": 1}})
    advice = rightsizing.Advice("SmallerFits", "1g.10gb would do", "1g.10gb")
    await cycle._write_advice([advising.Wanted(wanted, advice)], case.runtime)
    status = case.client.objects[kube.path(meta.API_VERSION, "TritonService", "team", "a")]["status"]
    assert status["rightSizing"] == {
        "reason": "SmallerFits", "message": "1g.10gb would do", "profile": "1g.10gb"
    }  # fmt: skip
    assert case.client.managers[-1] == (names.SIZING_FIELD_MANAGER, True)
    assert case.assignment("a")["replicas"] == 1


@pytest.mark.parametrize(
    ("reason", "resource", "told"),
    [
        pytest.param(judging.CHEAPER, "nvidia.com/mig-1g.10gb", True, id="advice"),
        pytest.param(judging.MOVED, "nvidia.com/mig-3g.40gb", True, id="moved, and its assignment says so"),
        pytest.param(judging.MOVED, "nvidia.com/mig-1g.10gb", False, id="the assignment was not written"),
    ],
)
async def test_a_choice_is_told_and_a_move_only_once_it_is_one(
    reason: str, resource: str, told: bool
) -> None:
    case = Case()
    path = kube.path(meta.API_VERSION, "TritonService", "team", "a")
    assigned = {"resource": "nvidia.com/mig-3g.40gb", "count": 1}
    raw = case.client.objects[path] | {"status": {"assignment": {"replicas": 1, "accelerator": assigned}}}
    case.cluster.note_event("TritonService", "MODIFIED", case.client.add(raw))
    service = builders.make_service("a", "team")
    choice = triton_service.SliceChoice(reason=reason, message="why", resource=resource, servers=3)
    chosen = choosing.Chosen((choosing.Wanted(service, choice),))
    await cycle._write_choices(chosen, case.runtime)
    status = case.client.objects[path]["status"]
    assert ("sliceChoice" in status) == told
    if told:
        assert status["sliceChoice"] == choice.to_wire()
        assert (names.SLICES_FIELD_MANAGER, True) in case.client.managers


@pytest.mark.parametrize(
    ("seen", "is_written"),
    [pytest.param("as it is", True, id="unchanged"), pytest.param("99", False, id="changed since")],
)
async def test_what_takes_is_written_only_on_what_was_decided_on(seen: str, is_written: bool) -> None:
    case = Case()
    path = kube.path(meta.API_VERSION, "TritonService", "team", "a")
    version = case.client.objects[path]["metadata"]["resourceVersion"] if is_written else seen
    wanted = assignment.Assignment(
        "TritonService", "team", "a", "uid-a", {"replicas": 7}, resource_version=version
    )
    with contextlib.nullcontext() if is_written else pytest.raises(kube.Conflict):
        await assignments.apply(case.client, wanted)  # type: ignore[arg-type]
    assert (case.assignment("a") is not None) == is_written
