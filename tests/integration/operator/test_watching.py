"""What happens in the cluster reaches the operator's view, whichever way it happens."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator

import pytest

from tests.integration.conftest import Cluster
from tests.integration.operator import process

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def operator(served: Cluster, tmp_path: pathlib.Path) -> Iterator[process.Operator]:
    with process.running(
        served.kubeconfig, tmp_path, GPUFLEET_LEASE_DURATION_S="3", GPUFLEET_LEASE_RENEW_S="0.8"
    ) as started:
        yield started.wait_ready()


def build_pool(name: str, label: str) -> str:
    return json.dumps(
        {
            "apiVersion": "gpufleet.dev/v1alpha1",
            "kind": "GPUPool",
            "metadata": {"name": name},
            "spec": {"nodeSelector": {"type": label}},
        }
    )


def names_in(snapshot: dict[str, list[dict[str, object]]], part: str) -> set[str]:
    return {str(one.get("name") or one["metadata"]["name"]) for one in snapshot[part]}  # type: ignore[index]


def test_own_objects_come_change_and_go(served: Cluster, operator: process.Operator) -> None:
    served.kubectl("apply", "-f", "-", input=build_pool("watched", "kwok"))
    process.wait_for("the pool", lambda: "watched" in names_in(operator.snapshot(), "pools"))
    served.kubectl("apply", "-f", "-", input=build_pool("watched", "other"))

    def selectors() -> list[object]:
        return [pool["spec"]["nodeSelector"] for pool in operator.snapshot()["pools"]]

    process.wait_for("the change", lambda: {"type": "other"} in selectors())
    served.kubectl("delete", "gpupool", "watched")
    process.wait_for("the deletion", lambda: "watched" not in names_in(operator.snapshot(), "pools"))


def test_a_node_that_changes_is_seen(served: Cluster, operator: process.Operator) -> None:
    node = str(operator.snapshot()["nodes"][0]["name"])

    def is_cordoned() -> bool:
        return any(one["unschedulable"] for one in operator.snapshot()["nodes"] if one["name"] == node)

    served.kubectl("cordon", node)
    try:
        process.wait_for("the cordon", is_cordoned)
    finally:
        served.kubectl("uncordon", node)
    process.wait_for("its end", lambda: not is_cordoned())


@pytest.mark.parametrize(
    ("resources", "kept"),
    [
        pytest.param({"limits": {"nvidia.com/gpu": 1}}, True, id="with devices"),
        pytest.param({}, False, id="without devices"),
    ],
)
def test_pods_of_others_count_where_they_hold_devices(
    served: Cluster, operator: process.Operator, team: str, resources: dict[str, object], kept: bool
) -> None:
    container = {"name": "main", "image": "registry.k8s.io/pause:3.10", "resources": resources}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"pod-{str(kept).lower()}", "namespace": team},
        "spec": {"containers": [container, {**container, "name": "second", "resources": {}}]},
    }
    served.kubectl("apply", "-f", "-", input=json.dumps(pod))
    mark = build_pool(f"mark-{str(kept).lower()}", "kwok")
    served.kubectl("apply", "-f", "-", input=mark)
    process.wait_for("a later change", lambda: operator.snapshot()["pools"])
    if kept:
        process.wait_for("the pod", lambda: "pod-true" in names_in(operator.snapshot(), "pods"))
    else:
        assert "pod-false" not in names_in(operator.snapshot(), "pods")
    served.kubectl("delete", "-f", "-", input=mark)
    served.kubectl("delete", "pod", "-n", team, f"pod-{str(kept).lower()}", "--grace-period=0", "--force")


def test_what_was_deleted_while_nobody_watched_is_gone(served: Cluster, tmp_path: pathlib.Path) -> None:
    served.kubectl("apply", "-f", "-", input=build_pool("ghost", "kwok"))
    quick = {"GPUFLEET_LEASE_DURATION_S": "3", "GPUFLEET_LEASE_RENEW_S": "0.8"}
    with process.running(served.kubeconfig, tmp_path, "before", **quick) as first:
        first.wait_ready()
        assert "ghost" in names_in(first.snapshot(), "pools")
        first.kill()
    served.kubectl("delete", "gpupool", "ghost")
    with process.running(served.kubeconfig, tmp_path, "after", **quick) as second:
        second.wait_ready()
        assert "ghost" not in names_in(second.snapshot(), "pools")
