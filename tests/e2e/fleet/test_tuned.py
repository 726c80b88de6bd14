"""Batching that gpufleet chooses: measured under load, tried on one pod, kept or taken back."""

from __future__ import annotations

from typing import Any

import pytest

from gpufleet_sandbox import kubectl
from tests.e2e.fleet import load, manifests, services

LOAD = ("--concurrency=12", "--balance")


def tuning(fleet: kubectl.Kubectl, namespace: str) -> dict[str, Any]:
    listed = services.status(fleet, namespace).get("models", [])
    found: dict[str, Any] = listed[0].get("tuning", {}) if listed else {}
    return found


def start(
    fleet: kubectl.Kubectl, namespace: str, target_ms: int, *, model: str = "timed", **batching: Any
) -> None:
    """Two servers of a model that takes 20 ms and 5 ms for each item, under load."""
    timed = manifests.model(model, maxBatchSize=16, batching={"mode": "Tuned", **batching})
    objective = {"latency": {"percentile": "P99", "targetMilliseconds": target_ms}}
    manifest = manifests.service(namespace, services.NAME, [timed], objective=objective, replicas=2)
    services.apply(fleet, manifest)
    fleet.run(
        "wait", "-n", namespace, f"tsvc/{services.NAME}", "--for=condition=Ready=True", services.TIMEOUT
    )
    load.start(fleet, namespace, model, 900, f"--url={services.NAME}-headless:8001", *LOAD)


def wait_for(fleet: kubectl.Kubectl, namespace: str, *phases: str) -> list[dict[str, Any]]:
    """All that was seen until the model is in one of the phases, without repetition."""
    seen: list[dict[str, Any]] = []

    def is_there() -> bool:
        now = tuning(fleet, namespace)
        if now and (not seen or now != seen[-1]):
            seen.append(now)
        return bool(now) and now["phase"] in phases

    kubectl.wait_until(f"tuning in {phases}", is_there, timeout_s=420)
    return seen


@pytest.mark.alone
def test_a_better_setting_is_tried_on_one_pod_and_then_everywhere(
    fleet: kubectl.Kubectl, namespace: str
) -> None:
    start(fleet, namespace, 400, maxInstances=2)
    seen = wait_for(fleet, namespace, "Tuned", "Returned")
    phases = [one["phase"] for one in seen]
    # A machine that was busy for a while is measured again: what it has learnt meanwhile is another line.
    assert phases.index("Trial") < phases.index("Confirming"), seen
    assert phases[-1] == "Tuned", seen
    assert seen[-1]["setting"]["instances"] == 2, "they sleep side by side, so a second one doubles the rate"
    tried = seen[phases.index("Confirming") - 1]["trial"]["pod"]
    assert tried in {pod["metadata"]["name"] for pod in services.pods(fleet, namespace)}
    [profile] = fleet.get("mprof", "-n", namespace)["items"]
    fit = profile["spec"]["fit"]
    for batch in (2, 6):
        predicted = fit["alphaMicroseconds"] + batch * fit["betaMicroseconds"]
        assert predicted == pytest.approx(20_000 + batch * 5_000, rel=0.2), profile["spec"]


def test_a_setting_that_no_pod_can_load_comes_back(fleet: kubectl.Kubectl, namespace: str) -> None:
    # A second instance of this model ends its load: the first has taken what there is.
    start(fleet, namespace, 400, model="greedy", maxInstances=2)
    seen = wait_for(fleet, namespace, "Returned", "Tuned")
    assert seen[-1]["phase"] == "Returned", seen
    assert "taken" in seen[-1]["message"]
    assert seen[-1]["setting"]["instances"] == 1
    kubectl.wait_until(
        "every pod serving as before",
        lambda: services.models(fleet, namespace) == {"greedy": "Ready"},
        timeout_s=120,
    )
    fleet.run("delete", "pod", "-n", namespace, load.CALLER, "--wait=false")
