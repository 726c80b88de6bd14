"""Servers that follow the load that the real Prometheus sees on the real Triton."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from gpufleet_sandbox import kubectl, processes, state
from tests.e2e.fleet import load, manifests, services

FAST = {"stabilizationWindowSeconds": 20}


def scaling(**fields: Any) -> dict[str, Any]:
    """Ten requests per second and server, one to three of them."""
    wanted = {"maxReplicas": 3, "targets": [{"signal": "RequestRate", "value": 10}]}
    return {**wanted, "behavior": {"scaleDown": FAST}, **fields}


def serve(fleet: kubectl.Kubectl, namespace: str, **fields: Any) -> None:
    """The service with one server, Ready."""
    spec = {"autoscaling": scaling(**fields)}
    services.apply(fleet, manifests.service(namespace, services.NAME, ["doubler"], **spec))
    name = f"tsvc/{services.NAME}"
    fleet.run("wait", "-n", namespace, name, "--for=condition=Ready=True", services.TIMEOUT)


def decisions(fleet: kubectl.Kubectl, namespace: str) -> list[dict[str, Any]]:
    """The newest first."""
    found: list[dict[str, Any]] = (
        services.status(fleet, namespace).get("autoscaling", {}).get("decisions", [])
    )
    return found


def reasons(fleet: kubectl.Kubectl, namespace: str) -> list[str]:
    return [one["reason"] for one in decisions(fleet, namespace)]


def test_servers_come_and_go_with_the_load(fleet: kubectl.Kubectl, namespace: str) -> None:
    serve(fleet, namespace)
    load.start(fleet, namespace, "doubler", 60, "--rate=25", "--concurrency=8")
    kubectl.wait_until(
        "three ready servers",
        lambda: sum(map(services.is_ready, services.pods(fleet, namespace))) == 3,
        timeout_s=120,
    )
    newest = next(one for one in decisions(fleet, namespace) if one["reason"] == "ScaledUp")
    assert newest["inputs"][0]["signal"] == "RequestRate"
    assert newest["message"].startswith(
        f"from {newest['before']} to {newest['replicas']} servers: RequestRate"
    )
    assert load.result(fleet, namespace)["failed"] == 0
    kubectl.wait_until("one server", lambda: len(services.pods(fleet, namespace)) == 1, timeout_s=180)
    assert "ScaledDown" in reasons(fleet, namespace)
    events = fleet.get("events", "-n", namespace)["items"]
    assert {"ScaledUp", "ScaledDown"} <= {one["reason"] for one in events}


def test_nobody_else_sets_the_number_in_active(fleet: kubectl.Kubectl, namespace: str) -> None:
    serve(fleet, namespace)
    with pytest.raises(kubectl.KubectlError, match=r"remove spec\.replicas"):
        fleet.run("scale", "-n", namespace, f"tsvc/{services.NAME}", "--replicas=3")


def test_advisory_says_and_leaves_alone(fleet: kubectl.Kubectl, namespace: str) -> None:
    serve(fleet, namespace, mode="Advisory")
    load.start(fleet, namespace, "doubler", 30, "--rate=25", "--concurrency=8")
    kubectl.wait_until("the advice", lambda: "ScaledUp" in reasons(fleet, namespace), timeout_s=120)
    assert services.status(fleet, namespace)["autoscaling"]["replicas"] > 1
    assert len(services.pods(fleet, namespace)) == 1
    fleet.run("scale", "-n", namespace, f"tsvc/{services.NAME}", "--replicas=2")
    kubectl.wait_until("a second server", lambda: len(services.pods(fleet, namespace)) == 2, timeout_s=60)


def test_a_full_fleet_says_what_is_lacking(fleet: kubectl.Kubectl, namespace: str) -> None:
    """Three whole GPUs are there, and ten servers are wanted."""
    targets = [{"signal": "RequestRate", "value": 2}]
    scales = scaling(maxReplicas=10, targets=targets)
    services.apply(
        fleet,
        manifests.service(
            namespace, services.NAME, ["doubler"], accelerator={"count": 1}, autoscaling=scales
        ),
    )
    name = f"tsvc/{services.NAME}"
    fleet.run("wait", "-n", namespace, name, "--for=condition=Ready=True", services.TIMEOUT)
    load.start(fleet, namespace, "doubler", 40, "--rate=20", "--concurrency=8")
    kubectl.wait_until("the lack", lambda: "NoRoom" in reasons(fleet, namespace), timeout_s=120)
    newest = next(one for one in decisions(fleet, namespace) if one["reason"] == "NoRoom")
    assert newest["wanted"] > newest["replicas"]
    assert newest["replicas"] <= 3
    assert "the fleet has room for 0" in newest["message"]
    pending = [one for one in services.pods(fleet, namespace) if not one["spec"].get("nodeName")]
    assert not pending, "a server without a place would only be a Pending pod"


@pytest.fixture
def silence(sandbox: Any) -> Iterator[processes.Process]:
    """Prometheus takes connections and never answers, until the test ends."""
    [record] = [one for one in state.load_all() if one.instance.kubeconfig == sandbox.kubeconfig]
    prometheus = processes.load("prometheus", record.instance.directory)
    assert prometheus is not None
    os.kill(prometheus.pid, signal.SIGSTOP)
    yield prometheus
    os.kill(prometheus.pid, signal.SIGCONT)


@pytest.mark.machine
def test_a_silent_prometheus_shrinks_nothing_and_is_named(
    fleet: kubectl.Kubectl, namespace: str, request: pytest.FixtureRequest
) -> None:
    # With so short a window the number would shrink at the first round that said anything of less load.
    hasty = {"scaleDown": {"stabilizationWindowSeconds": 5}}
    serve(fleet, namespace, minReplicas=1, behavior=hasty)
    load.start(fleet, namespace, "doubler", 30, "--rate=25", "--concurrency=8")
    kubectl.wait_until("more servers", lambda: len(services.pods(fleet, namespace)) > 1, timeout_s=120)
    many = len(services.pods(fleet, namespace))
    prometheus = request.getfixturevalue("silence")
    kubectl.wait_until("the reason", lambda: reasons(fleet, namespace)[0] == "NoEvidence", timeout_s=180)
    assert "did not answer in time" in decisions(fleet, namespace)[0]["message"]
    assert len(services.pods(fleet, namespace)) >= many
    os.kill(prometheus.pid, signal.SIGCONT)
    kubectl.wait_until("one server", lambda: len(services.pods(fleet, namespace)) == 1, timeout_s=240)
    assert reasons(fleet, namespace)[0] == "ScaledDown"
