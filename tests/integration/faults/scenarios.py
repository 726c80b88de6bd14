"""The two flows that faults are tried on, and what the cluster shows when they have ended."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import time
from collections.abc import Callable
from typing import Any

from tests import builders_api
from tests.integration.conftest import Cluster

ENDS = {"gpufleet.dev/kwok-exit-code", "gpufleet.dev/kwok-run-seconds"}
KINDS = "deployments,services,configmaps,jobs,tritonservices,trainingjobs"
VOLATILE = {
    "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink", "clusterIP",
    "clusterIPs", "lastTransitionTime", "lastUpdateTime", "startTime", "completionTime", "observedGeneration",
    "controller-uid", "batch.kubernetes.io/controller-uid", "lastProbeTime", "uncountedTerminatedPods",
    "terminatingReplicas", "ready", "active", "terminating", "value", "endTime", "worker", "usage",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Scenario:
    """What is created in a namespace, how it is moved on, and when it has ended."""

    name: str
    manifests: Callable[[str], list[dict[str, Any]]]
    drive: Callable[[Cluster, str], None]
    has_ended: Callable[[Cluster, str], bool]


def get(cluster: Cluster, namespace: str, what: str) -> list[dict[str, Any]]:
    shown = cluster.try_kubectl("get", what, "-n", namespace, "-o", "json")
    items: list[dict[str, Any]] = json.loads(shown.stdout)["items"] if shown.returncode == 0 else []
    return items


def condition(item: dict[str, Any], type_: str) -> dict[str, Any]:
    found = [one for one in item.get("status", {}).get("conditions", []) if one["type"] == type_]
    return found[0] if found else {}


def wait_until(what: str, holds: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s:.0f} s"
        time.sleep(0.1)


def observe(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    """Everything of ours in the namespace, without what differs between two equal runs."""
    found = [
        item for item in get(cluster, namespace, KINDS) if item["metadata"]["name"] != "kube-root-ca.crt"
    ]
    return sorted(
        (_settle(item, namespace) for item in found), key=lambda item: json.dumps(item, sort_keys=True)
    )


def _settle(item: dict[str, Any], namespace: str) -> dict[str, Any]:
    text = json.dumps(_without_volatile(copy.deepcopy(item)), sort_keys=True)
    uid = item["metadata"]["uid"]
    text = text.replace(namespace, "NAMESPACE").replace(uid, "UID")
    text = re.sub(r"(trained-\d+-\d+)-[a-z0-9]{5}", r"\1-POD", text)
    settled: dict[str, Any] = json.loads(re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "UID", text))
    settled["metadata"].pop("annotations", None)
    return settled


def _without_volatile(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_volatile(one) for key, one in value.items() if key not in VOLATILE}
    if isinstance(value, list):
        return [_without_volatile(one) for one in value]
    return value


def _service(namespace: str) -> list[dict[str, Any]]:
    return [builders_api.make_service("served", namespace)]


def _service_is_settled(cluster: Cluster, namespace: str) -> bool:
    items = get(cluster, namespace, "tritonservices")
    return bool(items) and (
        condition(items[0], "Ready").get("status") == "True"
        and condition(items[0], "Reconciling").get("status") == "False"
    )


def _job(namespace: str) -> list[dict[str, Any]]:
    policy = {"backoffSeconds": 1}
    return [builders_api.make_training_job("trained", namespace, workers={"max": 2}, failurePolicy=policy)]


def _fail_first_attempt(cluster: Cluster, namespace: str) -> None:
    """Ends worker 1 of attempt 1 with an error and both workers of attempt 2 with success, as they appear."""
    for pod in get(cluster, namespace, "pods"):
        labels = pod["metadata"]["labels"]
        if pod["status"].get("phase") != "Running" or "gpufleet.dev/kwok-exit-code" in pod["metadata"].get(
            "annotations", {}
        ):
            continue
        first = labels["gpufleet.dev/attempt"] == "1"
        if first and pod["metadata"]["name"].split("-")[-2] != "1":
            continue
        ending = "gpufleet.dev/kwok-exit-code=1" if first else "gpufleet.dev/kwok-run-seconds=1"
        cluster.try_kubectl("annotate", "pod", "-n", namespace, pod["metadata"]["name"], ending)


def _job_is_settled(cluster: Cluster, namespace: str) -> bool:
    """It has succeeded, and the Service under which its workers met has gone."""
    items = get(cluster, namespace, "trainingjobs")
    has_succeeded = bool(items) and condition(items[0], "Succeeded").get("status") == "True"
    return has_succeeded and not get(cluster, namespace, "services")


SCENARIOS = (
    Scenario("service", _service, lambda cluster, namespace: None, _service_is_settled),
    Scenario("gang", _job, _fail_first_attempt, _job_is_settled),
)


def play(
    scenario: Scenario, cluster: Cluster, namespace: str, timeout_s: float = 90.0
) -> list[dict[str, Any]]:
    """Moves the scenario on until it has ended and nothing changes any more; returns what is there then."""

    def moved_on() -> bool:
        scenario.drive(cluster, namespace)
        return scenario.has_ended(cluster, namespace)

    wait_until(f"{scenario.name} settled", moved_on, timeout_s)
    return settle(cluster, namespace)


def settle(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    """The state once two looks in a row, a second apart, agree."""
    before: list[dict[str, Any]] = []
    for _ in range(30):
        now = observe(cluster, namespace)
        if now == before:
            return now
        before = now
        time.sleep(1.0)  # the interval between two looks is what is compared
    raise AssertionError("the namespace never came to rest")
