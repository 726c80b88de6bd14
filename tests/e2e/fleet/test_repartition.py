"""A pod that waits for a slice nobody has cut gets it: beside one that runs on, or once one may be moved."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from gpufleet.state import names
from gpufleet_sandbox import kubectl
from tests.e2e.conftest import Sandbox
from tests.e2e.fleet import stand_in
from tests.e2e.fleet.test_simulated_gpus import SLEEP, mig_state

POOL = "recut"
ONE, THREE, WHOLE = "nvidia.com/mig-1g.10gb", "nvidia.com/mig-3g.40gb", "nvidia.com/gpu"
BUDGET = "web-budget"

Make = Callable[[str, Mapping[str, int]], str]


@pytest.fixture
def make_node(fleet: kubectl.Kubectl, namespace: str, sandbox: Sandbox) -> Iterator[Make]:
    """The node that other tests do not cut, in the test's pool: cut so, and offering this."""
    name: str = sandbox.provider.nodes()[-1]
    with contextlib.ExitStack() as stack:

        def make(config: str, offers: Mapping[str, int]) -> str:
            cut(fleet, name, config, offers)
            fleet.run("label", "node", name, f"gpufleet.dev/pool={POOL}", "--overwrite")
            stack.enter_context(stand_in.publishing(sandbox.provider, fleet, name))
            return name

        yield make
        fleet.run("delete", "gpool", POOL, "--ignore-not-found")
        kubectl.wait_until("no fence", lambda: fence(fleet, name) == [], timeout_s=300)
        fleet.run("delete", "deployments,pods", "--all", "-n", namespace)
        kubectl.wait_until("nobody's GPUs", lambda: find_holders(fleet, name) == [], timeout_s=180)
    fleet.run("label", "node", name, "gpufleet.dev/pool-")
    cut(fleet, name, "all-disabled", {WHOLE: 2})


def cut(fleet: kubectl.Kubectl, node: str, config: str, offers: Mapping[str, int]) -> None:
    """A refusal is followed by another change: mig-manager acts on a change of its label only."""
    other = "demo" if config == "all-disabled" else "all-disabled"

    def is_cut() -> bool:
        found = fleet.get("node", node)["status"]["allocatable"]
        shown = {key: int(found.get(key, "0")) for key in (ONE, THREE, WHOLE)}
        return shown == {ONE: 0, THREE: 0, WHOLE: 0} | offers and mig_state(fleet, node) == "success"

    for label in (config, other, config, other, config):
        fleet.run("label", "node", node, f"nvidia.com/mig.config={label}", "--overwrite")
        with contextlib.suppress(TimeoutError):
            kubectl.wait_until("slices", is_cut, timeout_s=60 if label == config else 10)
            return
    raise AssertionError(f"{node} is not cut: {mig_state(fleet, node)}")


def fence(fleet: kubectl.Kubectl, node: str) -> list[Any]:
    taints = fleet.get("node", node)["spec"].get("taints", [])
    return [one for one in taints if one["key"] == names.REPARTITION_TAINT]


def make_spec(node: str, resource: str, policy: str = "Never") -> dict[str, Any]:
    """Of a pod that may run on this node only, under the restricted standard."""
    container = {
        "name": "main",
        "image": "gpufleet.dev/trainer:0.1.0",
        "command": ["python3", "-c", SLEEP],
        "resources": {"limits": {resource: "1"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {
        "containers": [container],
        "nodeSelector": {"kubernetes.io/hostname": node},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "restartPolicy": policy,
    }


def create(fleet: kubectl.Kubectl, version: str, kind: str, metadata: Mapping[str, Any], spec: Any) -> None:
    wanted = {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}
    fleet.run("create", "-f", "-", stdin=json.dumps(wanted))


def start(fleet: kubectl.Kubectl, namespace: str, node: str, name: str, resource: str) -> None:
    create(fleet, "v1", "Pod", {"name": name, "namespace": namespace}, make_spec(node, resource))


def deploy(fleet: kubectl.Kubectl, namespace: str, node: str, name: str) -> dict[str, Any]:
    """One pod that its ReplicaSet makes again, and a budget that lets it not go; the pod, which runs."""
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": make_spec(node, ONE, "Always")}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    create(fleet, "apps/v1", "Deployment", {"name": name, "namespace": namespace}, spec)
    budget = {"minAvailable": 1, "selector": {"matchLabels": labels}}
    create(fleet, "policy/v1", "PodDisruptionBudget", {"name": BUDGET, "namespace": namespace}, budget)
    fleet.run("rollout", "status", "-n", namespace, f"deployment/{name}", "--timeout=330s", timeout_s=360)
    healthy = ("--for=jsonpath={.status.currentHealthy}=1", "--timeout=120s")
    fleet.run("wait", "-n", namespace, f"pdb/{BUDGET}", *healthy)
    [pod] = fleet.get("pods", "-n", namespace, "-l", f"app={name}")["items"]
    found: dict[str, Any] = pod
    return found


def make_pool(fleet: kubectl.Kubectl, **policy: Any) -> None:
    spec = {
        "nodeSelector": {"gpufleet.dev/pool": POOL},
        "mig": {"mode": "Dynamic", "act": "Active", **policy},
    }
    create(fleet, "gpufleet.dev/v1alpha1", "GPUPool", {"name": POOL}, spec)


def read_report(fleet: kubectl.Kubectl, node: str) -> dict[str, Any]:
    """What the operator that leads says of the node; KubectlError where another answers."""
    url = "/api/v1/namespaces/gpufleet-system/services/gpufleet:http/proxy/snapshot"
    listed = json.loads(fleet.run("get", "--raw", url))["repartition"]
    found: dict[str, Any] = next((one for one in listed if one["node"] == node), {})
    return found


def wait_running(fleet: kubectl.Kubectl, namespace: str, name: str) -> dict[str, Any]:
    ready = ("--for=condition=Ready", "--timeout=330s")
    fleet.run("wait", "-n", namespace, f"pod/{name}", *ready, timeout_s=360)
    found: dict[str, Any] = fleet.get("pod", name, "-n", namespace)
    return found


def read_devices(fleet: kubectl.Kubectl, node: str) -> list[dict[str, Any]]:
    text = fleet.get("node", node)["metadata"]["annotations"][names.DEVICES_ANNOTATION]
    found: list[dict[str, Any]] = json.loads(text)["gpus"]
    return found


def find_holders(fleet: kubectl.Kubectl, node: str) -> list[str]:
    """All pods that hold something there."""
    gpus = read_devices(fleet, node)
    return [one["pod"] for gpu in gpus for one in (gpu, *gpu["instances"]) if one["pod"]]


def holders(fleet: kubectl.Kubectl, node: str, pod: str) -> list[tuple[int, str]]:
    """(GPU, UUID of the slice) that a pod of this name holds."""
    return [
        (gpu["index"], one["uuid"])
        for gpu in read_devices(fleet, node)
        for one in gpu["instances"]
        if f"/{pod}/" in one["pod"]
    ]


@pytest.mark.machine
def test_a_gpu_is_cut_for_a_pod_that_waits_and_its_neighbour_runs_on(
    fleet: kubectl.Kubectl, namespace: str, make_node: Make
) -> None:
    node = make_node("all-1g.10gb", {ONE: 14})
    start(fleet, namespace, node, "stays", ONE)
    before = wait_running(fleet, namespace, "stays")
    kubectl.wait_until("its slice", lambda: len(holders(fleet, node, "stays")) == 1, timeout_s=120)
    [(busy, slice_)] = holders(fleet, node, "stays")
    make_pool(fleet)
    start(fleet, namespace, node, "waits", THREE)
    wait_running(fleet, namespace, "waits")
    kubectl.wait_until("the fence to go", lambda: fence(fleet, node) == [], timeout_s=300)
    assert mig_state(fleet, node) == "success"
    after = fleet.get("pod", "stays", "-n", namespace)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["containerStatuses"] == before["status"]["containerStatuses"], "it has run on"
    kubectl.wait_until("the new slice", lambda: len(holders(fleet, node, "waits")) == 1, timeout_s=120)
    assert holders(fleet, node, "stays") == [(busy, slice_)]
    [(cut_gpu, _)] = holders(fleet, node, "waits")
    assert cut_gpu != busy
    for reason in ("Labelled", "Repartitioned"):
        kubectl.wait_until(f"the Event {reason}", lambda: bool(tell(fleet, reason)), timeout_s=60)  # noqa: B023


@pytest.mark.machine
def test_a_budget_keeps_a_pod_until_it_allows_and_the_reserved_gpu_stays_whole(
    fleet: kubectl.Kubectl, namespace: str, make_node: Make
) -> None:
    node = make_node("demo", {ONE: 7, WHOLE: 1})
    before = deploy(fleet, namespace, node, "web")
    name, uid = before["metadata"]["name"], before["metadata"]["uid"]
    kubectl.wait_until("its slice", lambda: len(holders(fleet, node, name)) == 1, timeout_s=120)
    make_pool(fleet, drainPolicy="Drain", reservedWholeGPUs=1)
    start(fleet, namespace, node, "waits", THREE)

    def is_refused() -> bool:
        found = read_report(fleet, node)
        words = (f"{namespace}/{name}", BUDGET)
        return found["reason"] == "EvictionRefused" and all(word in found["message"] for word in words)

    kubectl.wait_until("the refusal, with pod and budget", is_refused, timeout_s=240)
    assert fence(fleet, node) != []
    assert fleet.get("pod", name, "-n", namespace)["metadata"]["uid"] == uid
    assert fleet.get("pod", name, "-n", namespace)["metadata"].get("deletionTimestamp") is None
    assert fleet.get("node", node)["metadata"]["labels"]["nvidia.com/mig.config"] == "demo"
    kubectl.wait_until("the Event", lambda: BUDGET in tell(fleet, "EvictionRefused"), timeout_s=60)

    patch = ("--type=merge", "-p", json.dumps({"spec": {"minAvailable": 0}}))
    fleet.run("patch", "pdb", BUDGET, "-n", namespace, *patch)
    wait_running(fleet, namespace, "waits")
    kubectl.wait_until("the fence to go", lambda: fence(fleet, node) == [], timeout_s=300)
    available = ("--for=jsonpath={.status.availableReplicas}=1", "--timeout=330s")
    fleet.run("wait", "-n", namespace, "deployment/web", *available, timeout_s=360)
    [after] = fleet.get("pods", "-n", namespace, "-l", "app=web")["items"]
    assert after["metadata"]["uid"] != uid, "it was moved"
    cut_gpu, whole = read_devices(fleet, node)
    assert (cut_gpu["mig"], whole["mig"], whole["instances"]) == (True, False, [])
    assert int(fleet.get("node", node)["status"]["allocatable"][WHOLE]) == 1


def tell(fleet: kubectl.Kubectl, reason: str) -> str:
    """Messages of the pool's Events with this reason."""
    events = fleet.get("events", "-n", "default")["items"]
    mine = [one for one in events if one["involvedObject"]["name"] == POOL and one["reason"] == reason]
    return " ".join(one["message"] for one in mine)
