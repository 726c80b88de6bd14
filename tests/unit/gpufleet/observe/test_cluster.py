"""The joined view: who is woken by what, and what decisions get to read."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from gpufleet import kube, settings
from gpufleet.observe import cluster
from gpufleet.state import children, models, progress
from tests.unit.gpufleet.observe import fakes

API = "gpufleet.dev/v1alpha1"


class Api:
    """Lists by path; watches hang."""

    def __init__(self, **objects: list[fakes.Raw]) -> None:
        self.objects = objects

    async def list(self, path: str, **_: Any) -> fakes.Raw:
        return fakes.build_list(*self.objects.get(path.rsplit("/", 1)[1], []), version=1)

    async def watch(self, path: str, *, on_open: Any, **_: Any) -> Any:
        on_open()
        await asyncio.Event().wait()
        yield {}


def service(name: str, version: int = 1, **status: Any) -> fakes.Raw:
    spec = {
        "modelRepository": {"configMap": {"name": "m", "items": [{"key": "k", "path": "a/1/model.py"}]}},
        "models": [{"name": "a"}],
        "replicas": 1,
    }
    return fakes.build_raw(name, version, spec=spec, status=status, kind="TritonService")


def pool(name: str, version: int = 1, generation: int = 1) -> fakes.Raw:
    raw = fakes.build_raw(
        name, version, spec={"nodeSelector": {"a": "b"}}, generation=generation, kind="GPUPool"
    )
    raw["metadata"]["namespace"] = ""
    return raw


def child(kind: str, name: str, owner: str, version: int = 1, **spec: Any) -> fakes.Raw:
    owners = [
        {"apiVersion": API, "kind": "TritonService", "name": owner, "uid": f"uid-{owner}", "controller": True}
    ]
    return fakes.build_raw(name, version, kind=kind, spec=spec, ownerReferences=owners)


def pod(name: str, version: int = 1, *, phase: str = "Running", gpus: int = 0, **labels: str) -> fakes.Raw:
    ours = {"app.kubernetes.io/managed-by": "gpufleet"} if labels else {}
    limits = {"limits": {"nvidia.com/gpu": str(gpus)}} if gpus else {}
    return fakes.build_raw(
        name,
        version,
        labels={**ours, **{f"gpufleet.dev/{key}": value for key, value in labels.items()}},
        spec={"containers": [{"name": "c", "resources": limits}]},
        status={"phase": phase},
    )


@contextlib.asynccontextmanager
async def running(**objects: list[fakes.Raw]):  # type: ignore[no-untyped-def]
    """A synced cluster and the list of what it has woken since."""
    seen = cluster.Cluster(Api(**objects), settings.Settings())  # type: ignore[arg-type]
    woken: list[Any] = []
    tasks = asyncio.TaskGroup()
    try:
        async with tasks:
            seen.start(tasks)
            await seen.wait_synced()
            seen.on_dirty = woken.append
            seen.on_fleet_change = lambda: woken.append("fleet")
            yield seen, woken
            raise asyncio.CancelledError
    except asyncio.CancelledError:
        return


async def test_a_snapshot_is_sorted_and_leaves_out_what_does_not_parse() -> None:
    broken = fakes.build_raw("broken", spec={})
    async with running(
        tritonservices=[service("b"), service("a"), broken],
        nodes=[fakes.build_raw("n2"), fakes.build_raw("n1")],
        pods=[pod("q", gpus=1), pod("p", service="a"), pod("foreign")],
        deployments=[child("Deployment", "a-1", "a", replicas=3)],
        gpupools=[pool("h100")],
    ) as (seen, _):
        taken = seen.read_snapshot()
        assert [one.metadata.name for one in taken.services] == ["a", "b"]
        assert [node.name for node in taken.nodes] == ["n1", "n2"]
        assert [one.name for one in taken.pods] == ["p", "q"]
        assert [one.metadata.name for one in taken.pools] == ["h100"]
        assert taken.live_replicas == {"uid-a": 3}
        assert ("TritonService", "team", "broken") in seen.keys()  # noqa: SIM118
        assert ("GPUPool", "", "h100") in seen.keys()  # noqa: SIM118


async def test_a_service_is_seen_with_all_that_belongs_to_it() -> None:
    accelerator = {"resource": "nvidia.com/gpu", "count": 1, "pool": "h100"}
    assigned = service("a", assignment={"replicas": 1, "reason": "Assigned", "accelerator": accelerator})
    async with running(
        tritonservices=[assigned],
        pods=[pod("mine", service="a"), pod("other", service="b")],
        configmaps=[child("ConfigMap", "a-wanted-models", "a"), child("ConfigMap", "b-wanted-models", "b")],
        gpupools=[pool("h100")],
    ) as (seen, _):
        seen.reports |= {"uid-mine": models.AgentReport("r"), "uid-other": models.AgentReport("s")}
        read = seen.read_service("team", "a")
        assert read is not None
        assert [one.ref for one in read.children] == [children.ChildRef("ConfigMap", "a-wanted-models")]
        assert [one.name for one in read.pods] == ["mine"]
        assert read.reports == {"uid-mine": models.AgentReport("r")}
        assert read.pool is not None
        assert seen.read_service("team", "none") is None


def node(name: str, version: int = 1, *, ready: str = "True") -> fakes.Raw:
    raw = fakes.build_raw(name, version, status={"conditions": [{"type": "Ready", "status": ready}]})
    raw["metadata"]["namespace"] = ""
    return raw


def worker(name: str, on: str) -> fakes.Raw:
    raw = pod(name, job="j")
    raw["spec"]["nodeName"] = on
    return raw


JOB = {"workers": {"max": 3}, "template": {"image": "i"}}


async def test_a_gang_knows_which_of_its_nodes_are_lost_and_how_far_it_is() -> None:
    async with running(
        trainingjobs=[fakes.build_raw("j", spec=JOB, kind="TrainingJob")],
        nodes=[node("good"), node("bad", ready="Unknown"), node("others", ready="False")],
        pods=[worker("a", "good"), worker("b", "bad"), worker("c", "gone")],
    ) as (seen, told):
        seen.progress |= {"uid-a": progress.Progress(1, 0), "uid-other": progress.Progress(2, 0)}
        read = seen.read_job("team", "j")
        assert read is not None
        assert read.lost_nodes == {"bad", "gone"}
        assert read.progress == {"uid-a": progress.Progress(1, 0)}
        seen._nodes.put(node("good", 2, ready="Unknown"))
        assert told == ["fleet", ("TrainingJob", "team", "j")]


@pytest.mark.parametrize(
    ("ended", "live"),
    [
        pytest.param("", {"uid-j": 3}, id="runs"),
        pytest.param("Failed", {}, id="has failed"),
        pytest.param("FailureTarget", {}, id="is failing"),
        pytest.param("Complete", {}, id="is complete"),
    ],
)
async def test_a_job_that_is_over_brings_no_assignment_back(ended: str, live: dict[str, int]) -> None:
    owners = [{"apiVersion": API, "kind": "TrainingJob", "name": "j", "uid": "uid-j", "controller": True}]
    conditions = [{"type": ended, "status": "True"}] if ended else []
    job = fakes.build_raw(
        "j-1", spec={"parallelism": 3}, status={"conditions": conditions}, ownerReferences=owners
    )
    async with running(trainingjobs=[fakes.build_raw("j", spec=JOB, kind="TrainingJob")], jobs=[job]) as (
        seen,
        _,
    ):
        assert seen.read_snapshot().live_workers == live


@pytest.mark.parametrize(
    ("change", "woken"),
    [
        pytest.param(
            lambda seen: seen.note_event("TritonService", "ADDED", service("x")),
            [("TritonService", "team", "x")],
            id="own object",
        ),
        pytest.param(
            lambda seen: seen.note_written(child("Deployment", "a-1", "a")),
            [("TritonService", "team", "a")],
            id="child",
        ),
        pytest.param(
            lambda seen: seen._pods.put(pod("p", service="a")),
            [("TritonService", "team", "a")],
            id="pod of ours",
        ),
        pytest.param(
            lambda seen: seen._pods.put(pod("p", job="j", gpus=1)),
            [("TrainingJob", "team", "j"), "fleet"],
            id="pod of ours with devices",
        ),
        pytest.param(lambda seen: seen._pods.put(pod("p", gpus=1)), ["fleet"], id="pod of others"),
        pytest.param(
            lambda seen: seen._nodes.put(fakes.build_raw("n")), ["fleet", ("GPUPool", "", "h100")], id="node"
        ),
        pytest.param(
            lambda seen: seen.note_event("GPUPool", "MODIFIED", pool("h100", 2, generation=2)),
            [("GPUPool", "", "h100"), ("TritonService", "team", "a")],
            id="a pool's spec",
        ),
        pytest.param(
            lambda seen: seen.note_event("GPUPool", "MODIFIED", pool("h100", 2, generation=1)),
            [("GPUPool", "", "h100")],
            id="a pool's status",
        ),
    ],
)
async def test_who_is_woken(change: Any, woken: list[Any]) -> None:
    async with running(tritonservices=[service("a")], gpupools=[pool("h100")]) as (seen, told):
        change(seen)
        assert told == woken


async def test_own_writes_are_seen_at_once_and_deleted_children_are_not() -> None:
    async with running(tritonservices=[service("a")]) as (seen, _):
        seen.note_written(child("Deployment", "a-1", "a", version=5))
        (found,) = seen.children_of("uid-a")
        assert (found.name, found.resource_version, found.owner_uid) == ("a-1", "5", "uid-a")
        seen.note_deleted(found)
        assert seen.children_of("uid-a") == ()
        assert seen.read_raw("Deployment", "team", "a-1") is None


async def test_kinds_that_are_not_installed_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster.informer, "FIRST_BACKOFF_S", 0.001)

    class Late(Api):
        tries = 0

        async def list(self, path: str, **more: Any) -> fakes.Raw:
            if path.endswith("tritonservices"):
                self.tries += 1
                if self.tries < 3:
                    raise kube.NotFound(404, "no such kind")
            return await super().list(path, **more)

    api = Late()
    seen = cluster.Cluster(api, settings.Settings())  # type: ignore[arg-type]
    with contextlib.suppress(asyncio.CancelledError):
        async with asyncio.TaskGroup() as tasks:
            seen.start(tasks)
            async with asyncio.timeout(5):
                await seen.wait_synced()
            raise asyncio.CancelledError
    assert api.tries == 3


async def test_silent_watches_are_named() -> None:
    time_source = fakes.ManualClock()
    seen = cluster.Cluster(Api(), settings.Settings(), time_source)  # type: ignore[arg-type]
    assert seen.stale() == []
    time_source.time_s += 121
    assert set(seen.stale()) == {
        *cluster.CHILD_KINDS,
        *("Pod", "Node", "Event", "PriorityClass", "ResourceSlice"),
    }
    time_source.time_s += 600
    assert "GPUPool" in seen.stale()
