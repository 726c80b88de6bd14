"""Our own kinds: parsed once per version, free of ghosts, complete in spite of a watch that misses."""

from __future__ import annotations

from typing import Any

import pydantic
import pytest

from gpufleet import kube
from gpufleet.api import gpu_pool, triton_service
from gpufleet.observe import own
from tests.unit.gpufleet.observe import fakes


def pool(name: str, version: int = 1, **spec: Any) -> fakes.Raw:
    raw = fakes.build_raw(
        name, version, spec=spec or {"nodeSelector": {"a": "b"}}, managedFields=[{"big": 1}]
    )
    raw["metadata"]["namespace"] = ""
    return raw


def build(heard: list[own.Key] | None = None) -> own.OwnKind[gpu_pool.GPUPool]:
    told = heard if heard is not None else []
    return own.OwnKind("GPUPool", gpu_pool.GPUPool, told.append)


def names(kind: own.OwnKind[gpu_pool.GPUPool]) -> list[str]:
    return [one.metadata.name for one in kind.read_all()]


@pytest.mark.parametrize(
    ("events", "left"),
    [
        pytest.param([(None, pool("a"))], ["a"], id="listed"),
        pytest.param([("ADDED", pool("b")), ("ADDED", pool("a"))], ["a", "b"], id="added"),
        pytest.param([("ADDED", pool("a")), ("DELETED", pool("a", 2))], [], id="deleted"),
        pytest.param([("ADDED", pool("a", wrong=1))], [], id="does not parse"),
    ],
)
def test_events(events: list[tuple[str | None, fakes.Raw]], left: list[str]) -> None:
    kind = build()
    for event_type, raw in events:
        kind.note_event(event_type, raw)
    assert names(kind) == left


def test_what_does_not_parse_is_held_and_raises() -> None:
    heard: list[own.Key] = []
    kind = build(heard)
    kind.note_event("ADDED", pool("a", nodeSelector={}))
    kind.note_event("MODIFIED", pool("a", 2, wrong=1))
    assert heard == [("GPUPool", "", "a")] * 2
    with pytest.raises(pydantic.ValidationError):
        kind.read("", "a")
    assert kind.read("", "b") is None


def test_one_version_is_parsed_once() -> None:
    kind = build()
    kind.note_event("ADDED", pool("a", 1))
    first = kind.read("", "a")
    assert kind.read("", "a") is first
    assert kind.read_all()[0] is first
    kind.note_event("MODIFIED", pool("a", 2, nodeSelector={"c": "d"}))
    changed = kind.read("", "a")
    assert changed is not None
    assert changed.spec.node_selector == {"c": "d"}


def test_what_has_not_changed_is_the_same_object_in_the_next_pass() -> None:
    """Decisions know by that what they need not look at again."""
    kind = build()
    for name in ("a", "b", "c"):
        kind.note_event("ADDED", pool(name))
    first = kind.read_all()
    assert kind.read_all() is first
    kind.note_event("MODIFIED", pool("b", 2, nodeSelector={"c": "d"}))
    kind.note_event("DELETED", pool("c", 3))
    after = kind.read_all()
    assert [one.metadata.name for one in after] == ["a", "b"]
    assert (after[0] is first[0], after[1] is first[1]) == (True, False)


def test_field_managers_are_dropped_and_the_type_is_added() -> None:
    kind = build()
    kind.note_event("ADDED", pool("a"))
    held = kind.store.get("", "a")
    assert held is not None
    assert "managedFields" not in held["metadata"]
    assert held["kind"] == "GPUPool"


async def test_a_relist_drops_ghosts_and_gets_what_was_missed() -> None:
    heard: list[own.Key] = []
    kind = build(heard)
    for name in ("ghost", "same", "stale"):
        kind.note_event("ADDED", pool(name))
    heard.clear()
    client = fakes.ScriptedClient(
        [fakes.build_list(pool("same"), pool("stale", 5), pool("new", 6), version=9)]
    )
    prefix = "/apis/gpufleet.dev/v1alpha1/gpupools/"
    client.objects = {
        prefix + "stale": pool("stale", 5, nodeSelector={"c": "d"}),
        prefix + "new": pool("new", 6),
    }
    await kind.relist(client)  # type: ignore[arg-type]
    assert names(kind) == ["new", "same", "stale"]
    assert sorted(heard) == [("GPUPool", "", name) for name in ("ghost", "new", "stale")]
    assert client.asked[0][1]["metadata_only"] is True


async def test_a_relist_spares_what_was_created_while_it_ran() -> None:
    kind = build()

    class Racing(fakes.ScriptedClient):
        async def list(self, path: str, **params: Any) -> fakes.Raw:
            kind.note_event("ADDED", pool("young", 12))
            return await super().list(path, **params)

    await kind.relist(Racing([fakes.build_list(version=9)]))  # type: ignore[arg-type]
    assert names(kind) == ["young"]


async def test_the_first_list_takes_whole_objects() -> None:
    kind = build()
    client = fakes.ScriptedClient(
        [fakes.build_list(pool("a"), version=3), fakes.build_list(pool("b"), version=3)]
    )
    client.lists[0]["metadata"]["continue"] = "more"
    await kind.sync(client)  # type: ignore[arg-type]
    assert names(kind) == ["a", "b"]


@pytest.mark.parametrize("is_first", [True, False], ids=["the first list", "a relist of metadata"])
async def test_an_empty_list_may_come_as_null(is_first: bool) -> None:
    """As the API server encodes an empty PartialObjectMetadataList."""
    kind = build()
    kind.note_event("ADDED", pool("ghost"))
    client = fakes.ScriptedClient([{"metadata": {"resourceVersion": "9"}, "items": None}])
    await (kind.sync if is_first else kind.relist)(client)  # type: ignore[arg-type]
    assert names(kind) == []


async def test_a_kind_that_was_uninstalled_has_no_objects() -> None:
    heard: list[own.Key] = []
    kind = build(heard)
    kind.note_event("ADDED", pool("a"))
    await kind.relist(fakes.ScriptedClient([kube.NotFound(404, "no such kind")]))  # type: ignore[arg-type]
    assert names(kind) == []
    assert heard == [("GPUPool", "", "a")] * 2


async def test_the_namespaces_that_are_watched_are_listed_in_turn() -> None:
    kind = own.OwnKind("TritonService", triton_service.TritonService, lambda _: None, namespaces=("a", "b"))
    client = fakes.ScriptedClient([fakes.build_list(version=3), fakes.build_list(version=4)])
    await kind.sync(client)  # type: ignore[arg-type]
    root = "/apis/gpufleet.dev/v1alpha1/namespaces"
    assert client.paths == [("list", f"{root}/{name}/tritonservices") for name in ("a", "b")]
