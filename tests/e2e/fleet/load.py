"""A pod that sends requests to the service while a test changes it."""

from __future__ import annotations

import json
from typing import Any

from gpufleet_sandbox import kubectl
from tests.e2e.fleet import services

CALLER = "caller"
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def start(fleet: kubectl.Kubectl, namespace: str, model: str, seconds: float, *options: str) -> None:
    """Sends requests over the service's name for so long; `options` are those of `gpufleet agent load`."""
    wanted = ["agent", "load", f"--url={services.NAME}:8001", f"--model={model}", f"--seconds={seconds}"]
    container = {
        "name": CALLER,
        "image": "gpufleet.dev/gpufleet:0.1.0",
        "args": [*wanted, *options],
        "securityContext": RESTRICTED,
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": CALLER, "namespace": namespace},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container]},
    }
    services.apply(fleet, json.dumps(pod))
    kubectl.wait_until("the first requests", lambda: _sent(fleet, namespace) > 0, timeout_s=60)


def result(fleet: kubectl.Kubectl, namespace: str) -> dict[str, Any]:
    """What came of the run, once it has ended."""
    kubectl.wait_until("the caller's end", lambda: "result" in _last(fleet, namespace), timeout_s=300)
    found: dict[str, Any] = _last(fleet, namespace)["result"]
    return found


def _sent(fleet: kubectl.Kubectl, namespace: str) -> int:
    return int(_last(fleet, namespace).get("progress", {}).get("sent", 0))


def _last(fleet: kubectl.Kubectl, namespace: str) -> dict[str, Any]:
    lines = fleet.run("logs", "-n", namespace, CALLER, "--tail=1").splitlines()
    read: dict[str, Any] = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return read
