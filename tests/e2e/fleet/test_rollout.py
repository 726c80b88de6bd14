"""A new revision on real nodes: beside the old one, after it, back from it, and a share of it."""

from __future__ import annotations

from typing import Any

import pytest

from gpufleet_sandbox import kubectl
from tests.e2e.fleet import load, manifests, services

NAME, TIMEOUT_S = services.NAME, 150
WHOLE = {"count": 1}


def env(value: str) -> dict[str, Any]:
    return {"env": [{"name": "GENERATION", "value": value}]}


def roll(fleet: kubectl.Kubectl, namespace: str, **spec: Any) -> None:
    services.apply(fleet, manifests.service(namespace, NAME, ["doubler"], **spec))


def rollout(fleet: kubectl.Kubectl, namespace: str) -> dict[str, Any]:
    found: dict[str, Any] = services.status(fleet, namespace).get("rollout") or {}
    return found


def by_generation(fleet: kubectl.Kubectl, namespace: str) -> dict[str, set[str]]:
    """UIDs of ready pods by the value of GENERATION."""
    found: dict[str, set[str]] = {}
    for pod in filter(services.is_ready, services.pods(fleet, namespace)):
        [triton] = [one for one in pod["spec"]["containers"] if one["name"] == "triton"]
        variables = {one["name"]: one.get("value", "") for one in triton.get("env", [])}
        found.setdefault(variables.get("GENERATION", ""), set()).add(pod["metadata"]["uid"])
    return found


def wait_for(fleet: kubectl.Kubectl, namespace: str, **sizes: int) -> dict[str, set[str]]:
    """Until so many servers of each generation are ready and no others."""

    def is_there() -> bool:
        return {name: len(pods) for name, pods in by_generation(fleet, namespace).items()} == sizes

    kubectl.wait_until(f"servers {sizes}", is_there, timeout_s=TIMEOUT_S)
    return by_generation(fleet, namespace)


def events(fleet: kubectl.Kubectl, namespace: str) -> dict[str, str]:
    listed = fleet.get("events", "-n", namespace, f"--field-selector=involvedObject.name={NAME}")["items"]
    return {one["reason"]: one["message"] for one in listed}


@pytest.fixture
def old(fleet: kubectl.Kubectl, namespace: str) -> str:
    roll(fleet, namespace, replicas=2, template=env("old"))
    wait_for(fleet, namespace, old=2)
    return namespace


def test_with_a_free_slice_the_next_revision_starts_beside_and_no_request_fails(
    fleet: kubectl.Kubectl, old: str
) -> None:
    load.start(fleet, old, "doubler", 45, "--concurrency=4")
    roll(fleet, old, replicas=2, template=env("new"))
    seen: set[int] = set()

    def is_done() -> bool:
        found = by_generation(fleet, old)
        seen.add(sum(map(len, found.values())))
        return {name: len(pods) for name, pods in found.items()} == {"new": 2}

    kubectl.wait_until("the next revision", is_done, timeout_s=TIMEOUT_S)
    assert min(seen) >= 2, "never fewer than before"
    found = load.result(fleet, old)
    assert (found["failed"], found["errors"]) == (0, {})
    assert found["sent"] > 1000
    assert "starts beside" in events(fleet, old)["RolloutStarted"]
    assert "all servers run" in events(fleet, old)["RolloutComplete"]
    assert not rollout(fleet, old)


def test_on_a_full_fleet_a_server_goes_first_and_the_loss_is_said(
    fleet: kubectl.Kubectl, namespace: str
) -> None:
    nodes = fleet.get("nodes")["items"]
    total = sum(int(node["status"]["allocatable"].get("nvidia.com/gpu", "0")) for node in nodes)
    roll(fleet, namespace, replicas=total, accelerator=WHOLE, template=env("old"))
    wait_for(fleet, namespace, old=total)
    roll(fleet, namespace, replicas=total, accelerator=WHOLE, template=env("new"))
    wait_for(fleet, namespace, new=total)
    said = events(fleet, namespace)["RolloutStarted"]
    assert "no free 1 × nvidia.com/gpu" in said
    assert f"1 of {total} servers" in said


def test_a_revision_that_cannot_start_goes_and_the_old_one_has_never_stopped(
    fleet: kubectl.Kubectl, old: str
) -> None:
    before = wait_for(fleet, old, old=2)["old"]
    deadline = {"progressDeadlineSeconds": 40}
    missing = {**env("new"), "image": "gpufleet.dev/missing:1"}
    roll(fleet, old, replicas=2, template=missing, rollout=deadline)
    kubectl.wait_until(
        "the return", lambda: rollout(fleet, old).get("phase") == "Returned", timeout_s=TIMEOUT_S
    )
    kubectl.wait_until("the old alone", lambda: len(services.pods(fleet, old)) == 2, timeout_s=60)
    assert by_generation(fleet, old) == {"old": before}
    conditions = {one["type"]: one for one in services.status(fleet, old)["conditions"]}
    assert (conditions["Ready"]["status"], conditions["Stalled"]["reason"]) == ("True", "RolloutFailed")
    assert "cannot get its image" in conditions["Stalled"]["message"]
    roll(fleet, old, replicas=2, template=env("good"), rollout=deadline)
    wait_for(fleet, old, good=2)
    kubectl.wait_until("peace", lambda: not rollout(fleet, old), timeout_s=60)


def test_a_canary_is_promoted_or_taken_back_without_restarting_anybody(
    fleet: kubectl.Kubectl, old: str
) -> None:
    before = wait_for(fleet, old, old=2)["old"]
    roll(fleet, old, replicas=2, template=env("new"), rollout={"canary": {"weight": 50}})
    first = wait_for(fleet, old, old=1, new=1)
    kubectl.wait_until("the hold", lambda: rollout(fleet, old).get("phase") == "Canary", timeout_s=60)
    assert first["old"] < before
    roll(fleet, old, replicas=2, template=env("new"))
    assert first["new"] < wait_for(fleet, old, new=2)["new"], "the canary goes on"
    roll(fleet, old, replicas=2, template=env("third"), rollout={"canary": {"weight": 50}})
    kept = wait_for(fleet, old, new=1, third=1)
    roll(fleet, old, replicas=2, template=env("new"))
    assert kept["new"] < wait_for(fleet, old, new=2)["new"], "an abort keeps what serves"
