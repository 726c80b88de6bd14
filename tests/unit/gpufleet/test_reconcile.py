"""One pass over one object: what is written, in which order, and what every kind of failure leaves behind."""

from __future__ import annotations

from typing import Any

import pytest

from gpufleet import kube, reconcile, runtime, settings, worker
from gpufleet.api import meta, reasons
from gpufleet.decide.placement import accelerators
from gpufleet.observe import cluster
from tests import builders_api
from tests.unit.gpufleet import memory
from tests.unit.gpufleet.observe import fakes

KEY = runtime.Key("TritonService", "team", "vision")
OWN = kube.path(meta.API_VERSION, "TritonService", "team", "vision", "status")
LIST = kube.path("v1", "ConfigMap", "team", "vision-wanted-models")


class Case:
    """A service that has its assignment, as the API server and the store have it."""

    def __init__(self, **spec: Any) -> None:
        self.client = memory.MemoryClient()
        self.clock = fakes.ManualClock()
        options = settings.Settings()
        self.cluster = cluster.Cluster(self.client, options, self.clock)  # type: ignore[arg-type]
        self.runtime = runtime.Runtime(
            self.client, self.cluster, options, self.clock, worker.Worker(["false"]), lambda key: None
        )  # type: ignore[arg-type]
        raw = builders_api.make_service("vision", "team", **spec)
        raw["metadata"] |= {"uid": "uid-vision", "generation": 1}
        # What the fleet cycle writes for a service that asks for no accelerator.
        raw["status"] = {"assignment": {"replicas": 1, "requested": accelerators.describe(None)}}
        self.see(self.client.add(raw))

    def see(self, raw: dict[str, Any]) -> None:
        self.cluster.note_event("TritonService", "MODIFIED", raw)

    async def run(self) -> float | None:
        self.client.journal.clear()
        return await reconcile.reconcile(KEY, self.runtime)

    def stalled(self) -> dict[str, Any]:
        """The condition as the API server has it."""
        conditions = self.client.objects[OWN.removesuffix("/status")]["status"]["conditions"]
        found: dict[str, Any] = next(one for one in conditions if one["type"] == reasons.STALLED)
        return found


async def test_children_then_status_then_events_and_then_nothing() -> None:
    case = Case()
    await case.run()
    written = case.client.written()
    at = written.index("apply vision/status")
    assert {one.split("/")[0] for one in written[:at]} == {
        "apply configmaps",
        "apply services",
        "apply deployments",
    }
    assert all(one.startswith("apply events/") for one in written[at + 1 :])
    await case.run()
    assert case.client.written() == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"deletionTimestamp": "2030-01-01T00:00:00Z"}, id="being deleted"),
        pytest.param(None, id="gone"),
    ],
)
async def test_what_goes_is_left_to_the_garbage_collector(change: dict[str, Any] | None) -> None:
    case = Case()
    raw = case.client.objects[OWN.removesuffix("/status")]
    raw["metadata"] |= {"resourceVersion": "900"} | (change or {})
    case.cluster.note_event("TritonService", "MODIFIED" if change else "DELETED", raw)
    assert await case.run() is None
    assert case.client.written() == []


async def test_a_spec_that_does_not_parse_is_said_and_nothing_else_is_touched() -> None:
    case = Case()
    await case.run()
    before = set(case.client.objects)
    broken = case.client.objects[OWN.removesuffix("/status")]
    broken["spec"]["models"][0]["maxBatchSize"] = "many"
    case.see(case.client.add(broken))
    assert await case.run() is None
    assert case.stalled()["reason"] == reasons.INVALID_SPEC
    assert "maxBatchSize" in case.stalled()["message"]
    assert {path for path in case.client.objects if "/events/" not in path} == {
        path for path in before if "/events/" not in path
    }
    await case.run()
    assert case.client.written() == [], "the same fault is said once"


def config_map(owners: list[Any]) -> dict[str, Any]:
    metadata = {"name": "vision-wanted-models", "namespace": "team", "ownerReferences": owners}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"mine": "yes"}}


async def test_a_name_that_is_taken_is_said_and_tried_again() -> None:
    case = Case()
    case.client.add(config_map([]))
    assert await case.run() == pytest.approx(30)
    assert case.stalled()["reason"] == reasons.CONFLICT
    assert "vision-wanted-models" in case.stalled()["message"]
    assert case.client.objects[LIST]["data"] == {"mine": "yes"}
    del case.client.objects[LIST]
    await case.run()
    assert case.stalled()["status"] == "False"


async def test_what_a_namesake_left_is_waited_for_without_an_alarm() -> None:
    case = Case()
    former = {"apiVersion": meta.API_VERSION, "kind": "TritonService", "name": "vision", "uid": "uid-former"}
    case.client.add(config_map([former]))
    again_s = await case.run()
    assert again_s is not None
    assert again_s < 5
    assert case.stalled()["status"] == "False"
    del case.client.objects[LIST]
    await case.run()
    assert "apply configmaps/vision-wanted-models" in case.client.written()


async def test_what_the_api_server_refuses_is_said_in_its_own_words() -> None:
    case = Case()
    case.client.failing[LIST] = kube.Refused(403, "exceeded quota: configmaps=5")
    assert await case.run() == pytest.approx(30)
    assert (case.stalled()["reason"], case.stalled()["message"]) == (
        reasons.WRITE_REFUSED,
        "exceeded quota: configmaps=5",
    )


@pytest.mark.parametrize("path", [pytest.param(LIST, id="child"), pytest.param(OWN, id="status")])
async def test_an_outage_is_left_to_the_queue(path: str) -> None:
    case = Case()
    case.client.failing[path] = kube.Unavailable(503, "starting")
    with pytest.raises(kube.Unavailable):
        await case.run()
    case.client.failing.clear()
    await case.run()
    assert case.stalled()["status"] == "False"


async def test_an_object_that_is_no_more_is_forgotten() -> None:
    case = Case()
    case.client.failing[OWN] = kube.NotFound(404, "gone")
    assert await case.run() is None
    assert case.cluster.read_raw(*KEY) is None


async def test_an_event_that_cannot_be_written_costs_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    case = Case()

    class WithoutEvents(memory.MemoryClient):
        async def apply(self, path: str, *args: Any, **named: Any) -> memory.Raw:
            if "/events/" in path:
                raise kube.Refused(403, "namespace is being terminated")
            return await super().apply(path, *args, **named)

    case.client.__class__ = WithoutEvents
    await case.run()
    assert case.stalled()["status"] == "False"
    assert "an Event was not written" in caplog.text
