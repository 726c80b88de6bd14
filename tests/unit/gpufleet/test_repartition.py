"""One look at MIG layouts, wired: what is read, written and told, against an API server of a dictionary."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Mapping
from typing import Any

import pytest

from gpufleet import kube, repartition, runtime, settings, worker
from gpufleet.decide.mig.repartition import reasons
from gpufleet.observe import cluster
from gpufleet.state import mig, names
from tests import builders, builders_api
from tests.unit.gpufleet.observe import fakes

SEVEN = [{"uuid": f"MIG-{n}", "profile": "1g.10gb", "start": n, "pod": ""} for n in range(7)]
NODE = kube.path("v1", "Node", name="n")
POOL = kube.path("gpufleet.dev/v1alpha1", "GPUPool", "", "p")


class Server:
    """Nodes, one pool, pods and ConfigMaps; merge patches and applies as far as they are asked of it."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.pods: list[dict[str, Any]] = []
        self.writes: list[str] = []
        self.failing: dict[str, kube.ApiError] = {}
        self._versions = itertools.count(100)

    def put(self, path: str, raw: Mapping[str, Any]) -> dict[str, Any]:
        stored = copy.deepcopy(dict(raw))
        stored["metadata"] = {"uid": f"uid-{path}"} | stored["metadata"]
        stored["metadata"]["resourceVersion"] = str(next(self._versions))
        self.objects[path] = stored
        return copy.deepcopy(stored)

    async def get(self, path: str) -> dict[str, Any]:
        if path not in self.objects:
            raise kube.NotFound(404, "not found")
        return copy.deepcopy(self.objects[path])

    async def list(self, path: str, **params: Any) -> dict[str, Any]:
        assert params["fieldSelector"] == "spec.nodeName=n"
        return {"metadata": {}, "items": [one for one in self.pods if one["spec"].get("nodeName") == "n"]}

    async def merge_patch(self, path: str, body: Mapping[str, Any], *, manager: str) -> dict[str, Any]:
        self._note("patch", path)
        held = self.objects[path]
        if body["metadata"]["resourceVersion"] != held["metadata"]["resourceVersion"]:
            raise kube.Conflict(409, "changed")
        for field in ("annotations", "labels"):
            merged = {**held["metadata"].get(field, {}), **body["metadata"].get(field, {})}
            held["metadata"][field] = {key: value for key, value in merged.items() if value is not None}
        held["spec"] |= body.get("spec", {})
        return self.put(path, held)

    async def apply(self, path: str, body: Mapping[str, Any], *, manager: str, force: bool) -> dict[str, Any]:
        self._note("apply", path)
        target = path.removesuffix("/status")
        held = self.objects.get(target, {"metadata": {}})
        if path != target:
            return self.put(target, held | {"status": body["status"]})
        return self.put(target, {**body, "metadata": {**held["metadata"], **body["metadata"]}})

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self._note("create", path)
        return dict(body)

    def _note(self, verb: str, path: str) -> None:
        if "/events/" in path:
            return
        self.writes.append(f"{verb} {'/'.join(path.split('/')[-2:])}")
        if path in self.failing:
            raise self.failing[path]


def make_node(**annotations: str) -> dict[str, Any]:
    found = {
        "bootID": "b",
        "gpus": [{"index": 0, "uuid": "GPU-0", "mig": True, "instances": SEVEN, "pod": ""}],
    }
    labels = {names.GPU_PRODUCT_LABEL: builders.H100, "pool": "p"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": "n",
            "labels": labels,
            "annotations": {names.DEVICES_ANNOTATION: json.dumps(found), **annotations},
        },
        "spec": {"taints": [{"key": "other", "effect": "NoExecute"}]},
        "status": {
            "allocatable": {"nvidia.com/mig-1g.10gb": "7"},
            "nodeInfo": {"bootID": "b"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def make_pod(name: str, resource: str, node: str = "") -> dict[str, Any]:
    refused = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    return {
        "metadata": {"name": name, "namespace": "team", "uid": f"uid-{name}", "resourceVersion": "1"},
        "spec": {
            "containers": [{"name": "c", "resources": {"limits": {resource: "1"}}}],
            "tolerations": [{"key": "other", "operator": "Exists"}],
            **({"nodeName": node} if node else {}),
        },
        "status": {"phase": "Pending", "conditions": [] if node else [refused]},
    }


class Case:
    """A pool that acts, a node of seven small slices, and a pod that waits for a large one."""

    def __init__(self, budget_gpus: float = 0.0, **policy: Any) -> None:
        self.server = Server()
        options = settings.Settings(
            mig_settle_s=0, mig_config_settle_s=0, mig_confirm_s=0, disruption_gpus_per_hour=budget_gpus
        )
        self.clock = fakes.ManualClock()
        self.cluster = cluster.Cluster(self.server, options, self.clock)  # type: ignore[arg-type]
        self.runtime = runtime.Runtime(
            self.server,
            self.cluster,
            options,
            self.clock,
            worker.Worker(["false"]),  # type: ignore[arg-type]
        )
        self.server.put(NODE, make_node())
        self.add_pod(make_pod("w", "nvidia.com/mig-3g.40gb"))
        self.set_pool(mode="Dynamic", act="Active", **policy)

    def set_pool(self, **policy: Any) -> None:
        wire = builders_api.make_pool("p", mig=policy or None)
        wire["spec"]["nodeSelector"] = {"pool": "p"}
        held = self.server.objects.get(POOL, {})
        self.server.put(POOL, {**wire, "status": held.get("status", {})})

    def add_pod(self, pod: dict[str, Any]) -> None:
        self.server.pods.append(pod)
        self.cluster._pods.put(pod)

    async def run(self) -> list[str]:
        """One look; what it wrote."""
        self.server.writes.clear()
        self.cluster._nodes.put(copy.deepcopy(self.server.objects[NODE]))
        self.cluster.note_event("GPUPool", "MODIFIED", copy.deepcopy(self.server.objects[POOL]))
        await repartition.run_once(self.runtime)
        self.answer()
        return self.server.writes

    def answer(self) -> None:
        """The node agent has looked again."""
        annotations = self.node["metadata"]["annotations"]
        found = json.loads(annotations[names.DEVICES_ANNOTATION])
        found["token"] = annotations.get(names.DEVICES_REQUESTED_ANNOTATION, "")
        annotations[names.DEVICES_ANNOTATION] = json.dumps(found)

    @property
    def node(self) -> dict[str, Any]:
        return self.server.objects[NODE]

    @property
    def status(self) -> Any:
        return self.server.objects[POOL].get("status", {}).get("mig")

    def manage(self, *profiles: str) -> None:
        """mig-manager, plugin and agent have done what the label says."""
        placed = [{"uuid": f"NEW-{n}", "profile": name, "start": 4 * n} for n, name in enumerate(profiles)]
        found = json.loads(self.node["metadata"]["annotations"][names.DEVICES_ANNOTATION])
        found["gpus"][0]["instances"] = placed
        self.node["metadata"]["annotations"][names.DEVICES_ANNOTATION] = json.dumps(found)
        self.node["metadata"]["labels"][names.MIG_STATE_LABEL] = "success"
        self.node["status"]["allocatable"] = {f"nvidia.com/mig-{name}": "2" for name in profiles}
        self.server.put(NODE, self.node)


def taints(case: Case) -> list[str]:
    return [one["key"] for one in case.node["spec"]["taints"]]


async def test_a_node_is_taken_through_all_of_it() -> None:
    case = Case()
    assert await case.run() == ["patch nodes/n", "apply p/status"]
    assert taints(case) == ["other", names.REPARTITION_TAINT]
    assert case.status["plan"]["reason"] == "Repartition"
    assert await case.run() == ["apply configmaps/gpufleet-mig-layouts", "apply p/status"]
    assert await case.run() == ["patch nodes/n"], "the configurations are seen"
    assert await case.run() == ["patch nodes/n"], "labelled"
    label = case.node["metadata"]["labels"][names.MIG_CONFIG_LABEL]
    file = case.server.objects[kube.path("v1", "ConfigMap", "gpu-operator", "gpufleet-mig-layouts")]
    assert label in file["data"]["config.yaml"]
    assert await case.run() == []
    case.manage("3g.40gb", "3g.40gb")
    assert await case.run() == ["patch nodes/n"], "it is done, as far as can be seen"
    assert (await case.run())[0] == "patch nodes/n"
    assert taints(case) == ["other"]
    assert names.MIG_CHANGE_ANNOTATION not in case.node["metadata"]["annotations"]
    assert case.runtime.round is not None
    assert case.runtime.round.nodes[0].reason == reasons.REPARTITIONED


async def test_a_pod_that_only_the_live_read_shows_stops_the_label() -> None:
    case = Case()
    for _ in range(3):
        await case.run()
    case.server.pods.append(make_pod("late", "nvidia.com/mig-1g.10gb", node="n"))
    assert await case.run() == []
    assert names.MIG_CONFIG_LABEL not in case.node["metadata"]["labels"]
    case.server.pods.pop()
    assert await case.run() == ["patch nodes/n"]


async def test_an_eviction_that_is_refused_is_told_with_its_budget_and_holds_up_nothing() -> None:
    case = Case(drainPolicy="Drain")
    held = make_pod("held", "nvidia.com/mig-1g.10gb", node="n")
    held["metadata"]["ownerReferences"] = [
        {"kind": "ReplicaSet", "name": "r", "uid": "r", "controller": True}
    ]
    case.add_pod(held)
    found = json.loads(case.node["metadata"]["annotations"][names.DEVICES_ANNOTATION])
    found["gpus"][0]["instances"][0]["pod"] = "team/held/"
    case.node["metadata"]["annotations"][names.DEVICES_ANNOTATION] = json.dumps(found)
    eviction = kube.path("v1", "Pod", "team", "held", "eviction")
    case.server.failing[eviction] = kube.Unavailable(429, "the budget web needs 1")
    for _ in range(4):
        await case.run()
    assert case.runtime.round is not None
    assert case.runtime.round.again_s is not None
    assert (await case.run())[0] == "create held/eviction"
    [told] = case.runtime.round.nodes
    assert told.reason == reasons.EVICTION_REFUSED
    assert told.message.endswith("may not be evicted yet: team/held: the budget web needs 1")
    assert case.status["nodesInFlight"] == 1
    case.server.failing.clear()
    await case.run()
    await case.run()
    assert case.runtime.round.nodes[0].reason == reasons.DRAINING


async def test_a_preview_is_what_a_look_would_do_and_writes_nothing() -> None:
    case = Case()
    case.cluster._nodes.put(copy.deepcopy(case.server.objects[NODE]))
    case.cluster.note_event("GPUPool", "MODIFIED", copy.deepcopy(case.server.objects[POOL]))
    found = await repartition.preview(case.runtime)
    assert [order.step.kind for order in found.orders] == ["Begin"]
    assert (case.server.writes, case.runtime.round) == ([], None)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(kube.Conflict(409, "changed"), id="somebody was faster"),
        pytest.param(kube.Refused(403, "no"), id="refused"),
    ],
)
async def test_a_write_that_fails_is_tried_again_and_ends_no_pass(error: kube.ApiError) -> None:
    case = Case()
    case.server.failing[NODE] = error
    assert await case.run() == ["patch nodes/n", "apply p/status"]
    case.server.failing.clear()
    assert "patch nodes/n" in await case.run()
    assert taints(case) == ["other", names.REPARTITION_TAINT]


async def test_the_budget_of_an_hour_stands_on_the_node() -> None:
    """The next change needs as much again; another operator knows no less."""
    case = Case(budget_gpus=1.0)
    for _ in range(4):
        await case.run()
    case.manage("3g.40gb", "3g.40gb")
    for _ in range(2):
        await case.run()
    assert names.MIG_CHANGE_ANNOTATION not in case.node["metadata"]["annotations"]
    case.set_pool(mode="Static", act="Active", layout=[{"profile": "1g.10gb", "count": 7}])
    case.runtime.round = None
    await case.run()
    assert names.MIG_CHANGE_ANNOTATION not in case.node["metadata"]["annotations"]
    assert case.status["keptOut"] == [{"reason": reasons.DISRUPTION_BUDGET, "nodes": 1, "example": "n"}]
    case.clock.time_s += 3601.0
    await case.run()
    assert names.MIG_CHANGE_ANNOTATION in case.node["metadata"]["annotations"]


async def test_what_others_take_while_it_is_planned_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pass over the fleet writes between the plan and the first step."""
    case = Case(budget_gpus=1.0)
    decide = repartition.rounds.decide

    def decide_late(*args: Any) -> Any:
        found = decide(*args)
        other = make_node(**{names.MIG_CUTS_ANNOTATION: mig.Cuts((mig.Cut(case.clock.now(), 1),)).to_text()})
        other["metadata"] |= {"name": "other", "uid": "uid-other", "resourceVersion": "1"}
        case.cluster._nodes.put(other)
        return found

    monkeypatch.setattr(repartition.rounds, "decide", decide_late)
    assert await case.run() == ["apply p/status"]
    assert taints(case) == ["other"]


async def test_an_operator_that_starts_anew_goes_on() -> None:
    case = Case()
    for _ in range(2):
        await case.run()
    case.runtime.round = None
    assert await case.run() == ["patch nodes/n"]
    assert names.MIG_CONFIG_LABEL not in case.node["metadata"]["labels"]
    assert await case.run() == ["patch nodes/n"]
    assert names.MIG_CONFIG_LABEL in case.node["metadata"]["labels"]


async def test_a_pool_that_says_nothing_more_is_told_nothing_more() -> None:
    case = Case()
    case.set_pool(mode="Dynamic")
    assert await case.run() == ["apply p/status"]
    assert case.status["keptOut"] == [{"reason": "Advisory", "nodes": 1, "example": "n"}]
    case.set_pool(mode="Off")
    assert await case.run() == ["apply p/status"]
    assert case.status is None
    assert await case.run() == []
