"""A pod that waits for a slice nobody has cut gets it, beside a pod that runs on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gpufleet.state import names
from gpufleet_sandbox import kubectl
from tests.e2e.conftest import Sandbox
from tests.e2e.fleet import stand_in
from tests.e2e.fleet.test_simulated_gpus import SLEEP, mig_state

POOL = "recut"
ONE, THREE = "nvidia.com/mig-1g.10gb", "nvidia.com/mig-3g.40gb"


@pytest.fixture
def node(fleet: kubectl.Kubectl, sandbox: Sandbox) -> Iterator[str]:
    """The node that other tests do not cut, both of its GPUs in seven small slices."""
    name: str = sandbox.provider.nodes()[-1]
    cut(fleet, name, "all-1g.10gb", 14)
    fleet.run("label", "node", name, f"gpufleet.dev/pool={POOL}", "--overwrite")
    with stand_in.publishing(sandbox.provider, fleet, name):
        yield name
        fleet.run("delete", "gpool", POOL, "--ignore-not-found")
        kubectl.wait_until("no fence", lambda: fence(fleet, name) == [], timeout_s=120)
    fleet.run(
        "label", "node", name, "nvidia.com/mig.config=all-disabled", "gpufleet.dev/pool-", "--overwrite"
    )


def cut(fleet: kubectl.Kubectl, node: str, config: str, slices: int) -> None:
    fleet.run("label", "node", node, f"nvidia.com/mig.config={config}", "--overwrite")
    offered = lambda: int(fleet.get("node", node)["status"]["allocatable"].get(ONE, "0"))  # noqa: E731
    kubectl.wait_until(f"{slices} slices", lambda: offered() == slices, timeout_s=120)


def fence(fleet: kubectl.Kubectl, node: str) -> list[Any]:
    taints = fleet.get("node", node)["spec"].get("taints", [])
    return [one for one in taints if one["key"] == names.REPARTITION_TAINT]


def start(fleet: kubectl.Kubectl, namespace: str, node: str, name: str, resource: str) -> None:
    """A pod that may run on this node only, under the restricted standard."""
    container = {
        "name": "main",
        "image": "gpufleet.dev/trainer:0.1.0",
        "command": ["python3", "-c", SLEEP],
        "resources": {"limits": {resource: "1"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "containers": [container],
            "nodeSelector": {"kubernetes.io/hostname": node},
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "restartPolicy": "Never",
        },
    }
    fleet.run("create", "-f", "-", stdin=json.dumps(pod))


def wait_running(fleet: kubectl.Kubectl, namespace: str, name: str) -> dict[str, Any]:
    ready = ("--for=condition=Ready", "--timeout=330s")
    fleet.run("wait", "-n", namespace, f"pod/{name}", *ready)
    found: dict[str, Any] = fleet.get("pod", name, "-n", namespace)
    return found


def read_devices(fleet: kubectl.Kubectl, node: str) -> list[dict[str, Any]]:
    text = fleet.get("node", node)["metadata"]["annotations"][names.DEVICES_ANNOTATION]
    found: list[dict[str, Any]] = json.loads(text)["gpus"]
    return found


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
    fleet: kubectl.Kubectl, namespace: str, node: str
) -> None:
    start(fleet, namespace, node, "stays", ONE)
    before = wait_running(fleet, namespace, "stays")
    kubectl.wait_until("its slice", lambda: len(holders(fleet, node, "stays")) == 1, timeout_s=60)
    [(busy, slice_)] = holders(fleet, node, "stays")
    policy = {"mode": "Dynamic", "act": "Active"}
    pool = {
        "apiVersion": "gpufleet.dev/v1alpha1",
        "kind": "GPUPool",
        "metadata": {"name": POOL},
        "spec": {"nodeSelector": {"gpufleet.dev/pool": POOL}, "mig": policy},
    }
    fleet.run("apply", "--server-side", "-f", "-", stdin=json.dumps(pool))
    start(fleet, namespace, node, "waits", THREE)
    wait_running(fleet, namespace, "waits")
    kubectl.wait_until("the fence to go", lambda: fence(fleet, node) == [], timeout_s=120)
    assert mig_state(fleet, node) == "success"
    after = fleet.get("pod", "stays", "-n", namespace)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["containerStatuses"] == before["status"]["containerStatuses"], "it has run on"
    kubectl.wait_until("the new slice", lambda: len(holders(fleet, node, "waits")) == 1, timeout_s=60)
    assert holders(fleet, node, "stays") == [(busy, slice_)]
    [(cut_gpu, _)] = holders(fleet, node, "waits")
    assert cut_gpu != busy
    reasons = {one["reason"] for one in fleet.get("events", "-n", "default")["items"]}
    assert {"Labelled", "Repartitioned"} <= reasons
