"""The node agent on real kubelets: which pod holds which slice, as the Node says it."""

from __future__ import annotations

import json
import uuid
from typing import Any

from gpufleet.state import names
from gpufleet_sandbox import kubectl
from tests.e2e.fleet import test_simulated_gpus as simulated


def read_devices(fleet: kubectl.Kubectl, node: str) -> dict[str, Any]:
    """The annotation; KeyError until there is one."""
    found: dict[str, Any] = json.loads(
        fleet.get("node", node)["metadata"]["annotations"][names.DEVICES_ANNOTATION]
    )
    return found


def slices_of(fleet: kubectl.Kubectl, node: str, pod: dict[str, Any]) -> list[dict[str, Any]]:
    """What the annotation says that this pod holds."""
    holder = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}/"
    gpus = read_devices(fleet, node)["gpus"]
    return [one for gpu in gpus for one in (gpu, *gpu["instances"]) if one["pod"] == holder]


def test_a_running_pod_is_named_on_its_slice_and_vanishes_with_its_end(
    fleet: kubectl.Kubectl, namespace: str
) -> None:
    pod = simulated.hold(fleet, namespace, "held")
    node = pod["spec"]["nodeName"]
    kubectl.wait_until("the pod in the annotation", lambda: bool(slices_of(fleet, node, pod)), timeout_s=60)
    [held] = slices_of(fleet, node, pod)
    assert (held["profile"], held["uuid"][:4]) == ("1g.10gb", "MIG-")
    document = read_devices(fleet, node)
    assert document["bootID"] == fleet.get("node", node)["status"]["nodeInfo"]["bootID"]
    cut, whole = document["gpus"]
    assert (cut["model"], cut["mig"], [one["start"] for one in cut["instances"]]) == (
        "H100-80GB-SXM",
        True,
        list(range(7)),
    )
    assert (whole["mig"], whole["instances"], whole["pod"]) == (False, [], "")
    fleet.run("delete", "tjob", "held", "-n", namespace)
    kubectl.wait_until("its end", lambda: not slices_of(fleet, node, pod), timeout_s=120)


def test_a_request_is_answered_with_its_token(fleet: kubectl.Kubectl) -> None:
    node = fleet.get("nodes", "-l", "nvidia.com/mig.capable=true")["items"][0]["metadata"]["name"]
    token = uuid.uuid4().hex
    fleet.run("annotate", "node", node, f"{names.DEVICES_REQUESTED_ANNOTATION}={token}", "--overwrite")
    kubectl.wait_until("the answer", lambda: read_devices(fleet, node).get("token") == token, timeout_s=30)
