"""Children: applied where they differ, pruned where they are not wanted, never taken from others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from gpufleet import kube
from gpufleet.api import meta
from gpufleet.apply import children as applying
from gpufleet.state import children, decision, names
from tests.unit.gpufleet import memory

OWNER = {"kind": "TritonService", "metadata": {"name": "vision", "namespace": "team", "uid": "uid-vision"}}
PATH = kube.path("v1", "ConfigMap", "team", "wanted")


class Known:
    """What the stores would show."""

    def __init__(self) -> None:
        self.held: dict[children.ChildRef, Mapping[str, Any]] = {}

    def children_of(self, uid: str) -> tuple[children.Child, ...]:
        return tuple(_child(raw) for raw in self.held.values())

    def note_written(self, raw: Mapping[str, Any]) -> None:
        self.held[children.ChildRef(raw["kind"], raw["metadata"]["name"])] = raw

    def note_deleted(self, child: children.Child) -> None:
        del self.held[child.ref]


def _child(raw: Mapping[str, Any]) -> children.Child:
    metadata = raw["metadata"]
    return children.Child(
        raw["apiVersion"],
        raw["kind"],
        metadata["namespace"],
        metadata["name"],
        metadata["uid"],
        metadata["resourceVersion"],
        OWNER["metadata"]["uid"],  # type: ignore[index]
        raw,
    )


def config_map(name: str = "wanted", **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "team"},
        "data": data,
    }


def owned_by(uid: str, kind: str = "TritonService", name: str = "vision", group: str = meta.GROUP) -> Any:
    return [{"apiVersion": f"{group}/v1alpha1", "kind": kind, "name": name, "uid": uid, "controller": True}]


async def apply(
    client: memory.MemoryClient,
    known: Known,
    *manifests: Mapping[str, Any],
    keep: frozenset[Any] = frozenset(),
    scale: Mapping[children.ChildRef, int] | None = None,
) -> list[str]:
    """The writes that it took."""
    client.journal.clear()
    decided = decision.Decision({}, apply=manifests, keep=keep, scale=scale or {})
    await applying.apply(client, known, OWNER, decided)  # type: ignore[arg-type]
    return client.written()


async def test_a_child_is_created_once_with_its_owner_and_repaired_when_edited() -> None:
    client, known = memory.MemoryClient(), Known()
    assert await apply(client, known, config_map(a="1")) == ["apply configmaps/wanted"]
    [reference] = client.objects[PATH]["metadata"]["ownerReferences"]
    assert reference == owned_by("uid-vision")[0] | {"blockOwnerDeletion": True}
    assert client.managers == [(names.FIELD_MANAGER, False)]
    assert await apply(client, known, config_map(a="1")) == []
    known.note_written(client.add(client.objects[PATH] | {"data": {"a": "edited"}}))
    assert await apply(client, known, config_map(a="1")) == ["apply configmaps/wanted"]
    assert client.managers[-1] == (names.FIELD_MANAGER, True)
    assert client.objects[PATH]["data"] == {"a": "1"}


@pytest.mark.parametrize(
    ("owners", "error"),
    [
        pytest.param([], applying.ChildConflictError, id="nobody's"),
        pytest.param(owned_by("other", name="audio"), applying.ChildConflictError, id="another service's"),
        pytest.param(owned_by("other", kind="TrainingJob"), applying.ChildConflictError, id="a job's"),
        pytest.param(
            owned_by("other", group="example.com"), applying.ChildConflictError, id="a foreign group's"
        ),
        pytest.param(owned_by("uid-former"), applying.ChildLeavingError, id="a deleted namesake's"),
    ],
)
async def test_a_taken_name_is_left_alone(owners: list[Any], error: type[Exception]) -> None:
    client = memory.MemoryClient()
    foreign = config_map(mine="yes")
    foreign["metadata"]["ownerReferences"] = owners
    before = client.add(foreign)
    with pytest.raises(error, match="ConfigMap wanted"):
        await apply(client, Known(), config_map(a="1"))
    assert client.objects[PATH] == before
    assert client.journal == []


async def test_what_appears_between_look_and_write_is_a_conflict() -> None:
    class Racing(memory.MemoryClient):
        async def apply(self, path: str, body: Mapping[str, Any], *, manager: str, force: bool) -> memory.Raw:
            assert not force
            raise kube.Conflict(409, "conflict with kubectl")

    with pytest.raises(applying.ChildConflictError, match="just now"):
        await apply(Racing(), Known(), config_map())


async def test_an_owned_child_that_the_store_has_not_seen_is_applied_by_force() -> None:
    client = memory.MemoryClient()
    unseen = config_map(a="old")
    unseen["metadata"]["ownerReferences"] = owned_by("uid-vision")
    client.add(unseen)
    assert await apply(client, Known(), config_map(a="1")) == ["apply configmaps/wanted"]
    assert client.managers == [(names.FIELD_MANAGER, True)]


async def test_prune_spares_what_is_kept_and_comes_before_what_is_new() -> None:
    client, known = memory.MemoryClient(), Known()
    await apply(client, known, config_map("old"), config_map("kept"), config_map("wanted"))
    kept = frozenset({children.ChildRef("ConfigMap", "kept")})
    written = await apply(client, known, config_map("wanted"), config_map("new"), keep=kept)
    assert written == ["delete configmaps/old", "apply configmaps/new"]


async def test_a_gang_gets_both_numbers_of_its_job_at_once() -> None:
    client, known = memory.MemoryClient(), Known()
    job = {**deployment(4), "apiVersion": "batch/v1", "kind": "Job"}
    known.note_written(client.add({**job, "spec": {"parallelism": 4, "completions": 4}}))
    old = children.ChildRef("Job", "old")
    await apply(client, known, keep=frozenset({old}), scale={old: 3})
    assert known.held[old]["spec"] == {"parallelism": 3, "completions": 3}
    assert await apply(client, known, keep=frozenset({old}), scale={old: 3}) == []


async def test_a_child_that_has_changed_since_the_decision_is_not_deleted() -> None:
    client, known = memory.MemoryClient(), Known()
    await apply(client, known, config_map("wanted", a="1"))
    client.add(client.objects[PATH] | {"data": {"a": "touched"}})
    with pytest.raises(kube.Conflict):
        await apply(client, known)
    assert PATH in client.objects


async def test_a_child_that_is_being_deleted_is_waited_for() -> None:
    client, known = memory.MemoryClient(), Known()
    await apply(client, known, config_map(a="1"))
    leaving = copy_with(client.objects[PATH], deletionTimestamp="2030-01-01T00:00:00Z")
    known.note_written(leaving)
    assert await apply(client, known, config_map(a="2")) == []


def copy_with(raw: Mapping[str, Any], **metadata: Any) -> dict[str, Any]:
    return {**raw, "metadata": {**raw["metadata"], **metadata}}


def deployment(replicas: int) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "old", "namespace": "team"},
        "spec": {"replicas": replicas, "template": {}},
    }


async def test_a_kept_child_is_scaled_before_anything_new_comes() -> None:
    client, known = memory.MemoryClient(), Known()
    known.note_written(client.add(deployment(4)))
    old = children.ChildRef("Deployment", "old")
    wanted = {"keep": frozenset({old}), "scale": {old: 3}}
    assert await apply(client, known, config_map(), **wanted) == [  # type: ignore[arg-type]
        "patch deployments/old",
        "apply configmaps/wanted",
    ]
    assert known.held[old]["spec"] == {"replicas": 3, "template": {}}
    assert await apply(client, known, config_map(), **wanted) == []  # type: ignore[arg-type]


async def test_a_child_that_has_changed_since_the_decision_is_not_scaled() -> None:
    client, known = memory.MemoryClient(), Known()
    known.note_written(client.add(deployment(4)))
    client.add(deployment(5))
    old = children.ChildRef("Deployment", "old")
    with pytest.raises(kube.Conflict):
        await apply(client, known, keep=frozenset({old}), scale={old: 3})
