"""A service moves to the slice that costs least: profiles, loads, prices and policy wired to one write."""

from __future__ import annotations

import datetime
import zlib
from typing import Any

import numpy
import pytest

from gpufleet import cycle, kube, runtime, settings, worker
from gpufleet.api import meta
from gpufleet.decide.autoscaling import behavior, forecast, memories
from gpufleet.decide.placement.slices import judging
from gpufleet.observe import cluster
from gpufleet.state import names, samples
from tests import builders, builders_api
from tests.unit.gpufleet import memory
from tests.unit.gpufleet.decide.autoscaling.builders import make_sample
from tests.unit.gpufleet.decide.autoscaling.test_capacity import OBJECTIVE, profile
from tests.unit.gpufleet.observe import fakes

SMALL, LARGE = "nvidia.com/mig-1g.10gb", "nvidia.com/mig-3g.40gb"
UID = "uid-a"
PATH = kube.path(meta.API_VERSION, "TritonService", "team", "a")


class Answers(dict[Any, float]):
    """What the worker would find out: 40 requests per second on the large slice, 10 on the small one."""

    def __contains__(self, question: object) -> bool:
        return True

    def __getitem__(self, question: Any) -> float:
        return 40.0 if question.spread == 0.05 else 10.0


def make_profile(name: str, resource: str, error: float) -> dict[str, Any]:
    spec = profile(hardware=f"1 × {resource} on {builders.H100}").to_wire()
    spec["fit"]["error"] = error
    owner = {"kind": "TritonService", "apiVersion": meta.API_VERSION, "uid": UID, "name": "a"}
    metadata = {"name": name, "namespace": "team", "uid": f"uid-{name}", "resourceVersion": "1"}
    return {"kind": "ModelProfile", "metadata": {**metadata, "ownerReferences": [owner]}, "spec": spec}


def make_case(choice: str) -> tuple[runtime.Runtime, memory.MemoryClient]:
    client, clock = memory.MemoryClient(), fakes.ManualClock()
    minute = int(clock.now().timestamp() // 60)
    clock.time_s += 60.0 * ((-minute - zlib.crc32(UID.encode())) % 5)
    options = settings.Settings(mig_prefer_nodes=False)
    seen = cluster.Cluster(client, options, clock)  # type: ignore[arg-type]
    running = runtime.Runtime(client, seen, options, clock, worker.Worker(["false"]))  # type: ignore[arg-type]
    running.worker._answers = Answers()
    raw = builders_api.make_service(
        "a",
        "team",
        models=[{"name": "m", "backend": "python", "maxBatchSize": 8, "batching": {}}],
        accelerator={"memory": "8Gi"},
        objective=OBJECTIVE,
        autoscaling={"maxReplicas": 20, "headroomPercent": 0},
    )
    raw["metadata"] |= {"uid": UID, "generation": 1}
    assigned = {"resource": LARGE, "count": 1, "products": [builders.H100], "pool": "h100"}
    raw["status"] = {"assignment": {"replicas": 1, "accelerator": assigned, "requested": "memory=8Gi"}}
    seen.note_event("TritonService", "ADDED", client.add(raw))
    pool = builders_api.make_pool("h100", pricePerGPUHour=2.5, mig={"sliceChoice": choice})
    pool["spec"]["nodeSelector"] = {"pool": "h100"}
    pool["metadata"] |= {"uid": "uid-pool"}
    seen.note_event("GPUPool", "ADDED", client.add(pool))
    labels = {names.GPU_PRODUCT_LABEL: builders.H100, "pool": "h100"}
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    node = fakes.build_raw("n", labels=labels, status={"allocatable": {LARGE: "2", SMALL: "7"}, **ready})
    del node["metadata"]["namespace"]
    seen._nodes.put(node)
    for name, resource, error in (("p", LARGE, 0.05), ("q", SMALL, 0.04)):
        seen._children["ModelProfile"].put(make_profile(name, resource, error))
    pod = fakes.build_raw(
        "a-1",
        labels={names.SERVICE_LABEL: "a", names.MANAGED_BY: names.MANAGER},
        spec={"nodeName": "n", "containers": [{"name": "c", "resources": {"limits": {LARGE: "1"}}}]},
        status={"phase": "Running", **ready},
    )
    seen._pods.put(pod)
    running.look = samples.Look(1, clock.now().timestamp(), {("team", "a-1"): make_sample(served=30.0)})
    loads = numpy.full(24 * 60, 30.0, numpy.float32).tobytes()
    known = memories.Remembered(behavior.Memory(0.0), 1, history=forecast.History(loads=loads))
    running.scaled = memories.Pass(memories={UID: known})
    return running, client


@pytest.mark.parametrize(
    ("choice", "reason", "resource", "replicas"),
    [
        pytest.param("Advisory", judging.CHEAPER, LARGE, 1, id="told"),
        pytest.param("Auto", judging.MOVED, SMALL, 3, id="moved"),
    ],
)
async def test_the_slice_that_costs_least(choice: str, reason: str, resource: str, replicas: int) -> None:
    running, client = make_case(choice)
    await cycle.run_once(running)
    status = client.objects[PATH]["status"]
    assert status["sliceChoice"]["reason"] == reason
    assert "3 × 1g.10gb (up to 3; 1.07 per hour on average)" in status["sliceChoice"]["message"]
    assert "1.25 per hour" in status["sliceChoice"]["message"]
    assert status["assignment"]["accelerator"]["resource"] == resource
    assert status["assignment"]["replicas"] == replicas
    assert ("movedAt" in status["sliceChoice"]) == (choice == "Auto")


async def test_what_has_moved_stays_where_it_is() -> None:
    running, client = make_case("Auto")
    await cycle.run_once(running)
    running.clock.time_s += datetime.timedelta(hours=2).total_seconds()  # type: ignore[attr-defined]
    told = client.objects[PATH]["status"]["sliceChoice"]
    await cycle.run_once(running)
    status = client.objects[PATH]["status"]
    assert status["sliceChoice"] == told
    assert status["assignment"]["accelerator"]["resource"] == SMALL
