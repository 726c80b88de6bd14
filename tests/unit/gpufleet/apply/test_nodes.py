"""Writes of a repartition: one patch per step, taints of others, evictions, and mig-manager's file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from gpufleet import kube
from gpufleet.apply import nodes
from gpufleet.decide.mig.repartition import configs, steps
from gpufleet.state import mig, names
from tests import builders
from tests.unit.gpufleet import memory

LAYOUT = mig.Layout.of({0: {"1g.10gb": 7}})
NAME = configs.choose_name(LAYOUT, ())
NEEDS = configs.Needs({NAME: LAYOUT})
PATH = kube.path("v1", "ConfigMap", "gpu-operator", "layouts")
THEIRS = "version: v1\nmig-configs:\n  mine:\n  - {devices: all, mig-enabled: false}\n"


class PatchingClient:
    """Keeps the one patch, or answers a create with an error."""

    def __init__(self, error: kube.ApiError | None = None) -> None:
        self.bodies: list[Mapping[str, Any]] = []
        self.error = error

    async def merge_patch(self, path: str, body: Mapping[str, Any], *, manager: str) -> Mapping[str, Any]:
        assert (path, manager) == ("/api/v1/nodes/n", names.CYCLE_FIELD_MANAGER)
        self.bodies.append(body)
        return body

    async def create(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        self.bodies.append({"path": path, **body})
        if self.error:
            raise self.error
        return body


OTHER = {"key": "other", "effect": "NoExecute", "timeAdded": "2030-01-01T00:00:00Z"}
FENCE = {"key": names.REPARTITION_TAINT, "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("taints", "fence", "expected"),
    [
        pytest.param([OTHER], True, [OTHER, FENCE], id="set beside another"),
        pytest.param([OTHER, FENCE], True, [OTHER, FENCE], id="set once"),
        pytest.param([FENCE, OTHER], False, [OTHER], id="removed, the other stays"),
        pytest.param(None, False, [], id="none at all"),
    ],
)
async def test_only_our_own_taint_changes(taints: list[Any] | None, fence: bool, expected: list[Any]) -> None:
    client = PatchingClient()
    live = {"metadata": {"name": "n", "uid": "u", "resourceVersion": "7"}, "spec": {"taints": taints}}
    await nodes.patch(client, live, steps.Patch({"a": None}, {"b": "c"}, fence))  # type: ignore[arg-type]
    metadata = {"uid": "u", "resourceVersion": "7", "annotations": {"a": None}, "labels": {"b": "c"}}
    assert client.bodies == [{"metadata": metadata, "spec": {"taints": expected}}]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        pytest.param(None, "", id="it goes"),
        pytest.param(kube.NotFound(404, "gone"), "", id="it is gone"),
        pytest.param(
            kube.Unavailable(429, "disruption budget"), "default/p: disruption budget", id="a budget"
        ),
        pytest.param(kube.Conflict(409, "another uid"), "default/p: another uid", id="a namesake"),
        pytest.param(kube.Unavailable(500, "two of them"), "default/p: two of them", id="two budgets"),
    ],
)
async def test_an_eviction_is_asked_of_exactly_this_pod(error: kube.ApiError | None, said: str) -> None:
    client = PatchingClient(error)
    assert await nodes.evict(client, builders.make_pod("p")) == said  # type: ignore[arg-type]
    [body] = client.bodies
    assert body["path"] == "/api/v1/namespaces/default/pods/p/eviction"
    assert body["deleteOptions"] == {"preconditions": {"uid": "uid-p"}}


async def test_an_outage_is_no_refusal() -> None:
    with pytest.raises(kube.Unavailable):
        await nodes.evict(PatchingClient(kube.Unavailable(503, "starting")), builders.make_pod("p"))  # type: ignore[arg-type]


async def write(client: memory.MemoryClient, needs: configs.Needs = NEEDS) -> Mapping[str, Any] | None:
    return await nodes.write_file(client, "gpu-operator", "layouts", needs)  # type: ignore[arg-type]


def add(client: memory.MemoryClient, text: str) -> None:
    metadata = {"name": "layouts", "namespace": "gpu-operator"}
    client.add({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {configs.KEY: text}})


async def test_the_file_is_made_once_and_made_again_when_it_is_gone() -> None:
    client = memory.MemoryClient()
    assert await write(client) is not None
    assert NAME in client.objects[PATH]["data"][configs.KEY]
    assert await write(client) is None
    del client.objects[PATH]
    assert await write(client) is not None


async def test_what_people_have_written_stays_and_becomes_seen() -> None:
    client = memory.MemoryClient()
    add(client, THEIRS)
    written = await write(client)
    assert written is not None
    assert "mine:" in written["data"][configs.KEY]
    assert written["metadata"]["labels"] == {names.MANAGED_BY: names.MANAGER}, "so that the watch shows it"
    assert written["metadata"]["resourceVersion"] != "100"


async def test_nothing_is_written_where_nothing_is_needed_or_it_cannot_be_read() -> None:
    client = memory.MemoryClient()
    assert await write(client, configs.Needs()) is None
    add(client, "{")
    with pytest.raises(configs.ConfigFileError):
        await write(client)
    assert client.journal == []
