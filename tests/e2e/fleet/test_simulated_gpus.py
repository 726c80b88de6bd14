"""Simulated GPUs on real nodes: what the kubelet hands out, what metrics say, what hardware refuses."""

from __future__ import annotations

import contextlib
import re
from typing import Any

from gpufleet_sandbox import kubectl
from tests.e2e.fleet import manifests

TIMEOUT = "--timeout=240s"
# The first process of a container has no default handlers: without one SIGTERM would be ignored.
SLEEP = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit()); time.sleep(300)"
SLICE = {"migProfile": "1g.10gb"}


def hold(fleet: kubectl.Kubectl, namespace: str, name: str) -> dict[str, Any]:
    """A pod that runs and holds a slice."""
    wanted = manifests.training_job(namespace, name, SLEEP, workers=1, framework="Plain", accelerator=SLICE)
    fleet.run("apply", "--server-side", "-f", "-", stdin=wanted)
    selector = f"gpufleet.dev/job={name}"

    def found() -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = fleet.get("pods", "-n", namespace, "-l", selector)["items"]
        return listed

    kubectl.wait_until("the pod", lambda: bool(found()), timeout_s=60)
    fleet.run("wait", "-n", namespace, "pod", "-l", selector, "--for=condition=Ready", TIMEOUT)
    [pod] = found()
    return pod


def test_exporters_name_the_pod_that_holds_a_slice(fleet: kubectl.Kubectl, namespace: str) -> None:
    pod = hold(fleet, namespace, "hold")
    wanted = re.compile(
        rf'DCGM_FI_PROF_GR_ENGINE_ACTIVE{{.*GPU_I_PROFILE="1g.10gb".*namespace="{namespace}".*pod="{pod["metadata"]["name"]}"'
    )
    exporter = simgpu_pod(fleet, pod["spec"]["nodeName"])
    url = f"/api/v1/namespaces/gpufleet-system/pods/{exporter}:9400/proxy/metrics"
    kubectl.wait_until(
        "the series", lambda: bool(wanted.search(fleet.run("get", "--raw", url))), timeout_s=60
    )


def simgpu_pod(fleet: kubectl.Kubectl, node: str) -> str:
    found = fleet.get("pods", "-n", "gpufleet-system", "-l", "app.kubernetes.io/component=simgpu")["items"]
    [name] = [pod["metadata"]["name"] for pod in found if pod["spec"].get("nodeName") == node]
    return str(name)


def test_a_busy_gpu_is_not_repartitioned(fleet: kubectl.Kubectl, namespace: str) -> None:
    pod = hold(fleet, namespace, "busy")
    node = pod["spec"]["nodeName"]
    kubectl.wait_until("pods of earlier tests to leave", lambda: find_others(fleet, pod) == [], timeout_s=120)
    fleet.run("label", "node", node, "nvidia.com/mig.config=all-disabled", "--overwrite")
    try:
        kubectl.wait_until("the refusal", lambda: mig_state(fleet, node) == "failed", timeout_s=90)
        assert fleet.get("pod", pod["metadata"]["name"], "-n", namespace)["status"]["phase"] == "Running"
    finally:
        fleet.run("delete", "tjob", "busy", "-n", namespace)
        fleet.run("wait", "-n", namespace, f"pod/{pod['metadata']['name']}", "--for=delete", TIMEOUT)
        cut_again(fleet, node)


def cut_again(fleet: kubectl.Kubectl, node: str) -> None:
    """Siblings of the busy slice are gone. The kubelet may list its pod a while longer, and mig-manager acts
    on a change of its label only: so a refusal is followed by another change.
    """

    def is_cut() -> bool:
        slices = fleet.get("node", node)["status"]["allocatable"].get("nvidia.com/mig-1g.10gb", "0")
        return mig_state(fleet, node) == "success" and slices == "7"

    for config in ("demo", "all-disabled", "demo", "all-disabled", "demo"):
        fleet.run("label", "node", node, f"nvidia.com/mig.config={config}", "--overwrite")
        with contextlib.suppress(TimeoutError):
            kubectl.wait_until("slices again", is_cut, timeout_s=30)
            return
    raise AssertionError(f"{node} is not cut again: {mig_state(fleet, node)}")


def find_others(fleet: kubectl.Kubectl, ours: dict[str, Any]) -> list[str]:
    """Pods of other tests on our pod's node, which may hold slices of the same GPU."""
    listed = fleet.get("pods", "-A", f"--field-selector=spec.nodeName={ours['spec']['nodeName']}")["items"]
    theirs = [pod["metadata"] for pod in listed if pod["metadata"]["namespace"].startswith("t-")]
    return [one["name"] for one in theirs if one["namespace"] != ours["metadata"]["namespace"]]


def mig_state(fleet: kubectl.Kubectl, node: str) -> str:
    return str(fleet.get("node", node)["metadata"]["labels"].get("nvidia.com/mig.config.state", ""))
