"""The TritonService that the tests of serving share: applied, asked, looked at."""

from __future__ import annotations

from typing import Any

from gpufleet_sandbox import inference, kubectl

NAME = "vision"
TIMEOUT = "--timeout=180s"


def apply(fleet: kubectl.Kubectl, manifest: str) -> None:
    fleet.run("apply", "--server-side", "-f", "-", stdin=manifest)


def status(fleet: kubectl.Kubectl, namespace: str) -> dict[str, Any]:
    read: dict[str, Any] = fleet.get("tsvc", NAME, "-n", namespace).get("status", {})
    return read


def models(fleet: kubectl.Kubectl, namespace: str) -> dict[str, str]:
    return {one["name"]: one["state"] for one in status(fleet, namespace).get("models", [])}


def pods(fleet: kubectl.Kubectl, namespace: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = fleet.get("pods", "-n", namespace, "-l", f"gpufleet.dev/service={NAME}")[
        "items"
    ]
    return [pod for pod in listed if "deletionTimestamp" not in pod["metadata"]]


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def answers(fleet: kubectl.Kubectl, namespace: str, model: str) -> list[float]:
    with inference.forward(fleet, namespace, f"svc/{NAME}", 8000) as address:
        return inference.infer(address, model, "X", [1.0, 2.0, 3.0, 4.0])
