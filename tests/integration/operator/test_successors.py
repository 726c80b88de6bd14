"""What comes after: a namesake of a deleted object, and the replica that follows a killed leader."""

from __future__ import annotations

import json
import pathlib

import pytest

from tests import builders_api
from tests.integration.conftest import Cluster
from tests.integration.operator import process

NAME = "vision"
QUICK = {"GPUFLEET_LEASE_DURATION_S": "3", "GPUFLEET_LEASE_RENEW_S": "0.8"}

pytestmark = pytest.mark.timeout(240)


def apply_service(cluster: Cluster, namespace: str, replicas: int = 1) -> None:
    manifest = json.dumps(builders_api.make_service(NAME, namespace, replicas=replicas))
    cluster.kubectl("apply", "--server-side", "-f", "-", input=manifest)


def wait_serving(cluster: Cluster, namespace: str, replicas: int) -> None:
    def is_serving() -> bool:
        shown = cluster.try_kubectl("get", "tsvc", NAME, "-n", namespace, "-o", "jsonpath={.status}")
        status = json.loads(shown.stdout or "{}")
        conditions = {one["type"]: one["status"] for one in status.get("conditions", [])}
        return conditions.get("Ready") == "True" and status.get("readyReplicas") == replicas

    process.wait_for(f"{replicas} replicas that serve", is_serving, 60)


def read_events(cluster: Cluster, namespace: str) -> list[str]:
    """Reasons of the Events about the service that exists now."""
    uid = cluster.kubectl("get", "tsvc", NAME, "-n", namespace, "-o", "jsonpath={.metadata.uid}")
    shown = json.loads(cluster.kubectl("get", "events", "-n", namespace, "-o", "json"))
    return [one["reason"] for one in shown["items"] if one["involvedObject"].get("uid") == uid]


def hold(cluster: Cluster, namespace: str, finalizers: list[str]) -> None:
    """Keeps the service's ConfigMap from going, or lets it go."""
    patch = json.dumps({"metadata": {"finalizers": finalizers}})
    cluster.kubectl(
        "patch", "configmap", f"{NAME}-wanted-models", "-n", namespace, "--type=merge", "-p", patch
    )


def test_a_namesake_waits_for_what_its_predecessor_left(
    served: Cluster, team: str, tmp_path: pathlib.Path
) -> None:
    with process.running(served.kubeconfig, tmp_path, **QUICK) as operator:
        operator.wait_ready()
        apply_service(served, team)
        wait_serving(served, team, 1)
        hold(served, team, ["gpufleet.dev/test"])
        served.kubectl("delete", "tsvc", NAME, "-n", team)
        apply_service(served, team)
        process.wait_for("a look at the namesake", lambda: "waiting: ConfigMap" in operator.logs())
        hold(served, team, [])
        wait_serving(served, team, 1)
        assert "Conflict" not in read_events(served, team)


def _role_of(operator: process.Operator) -> str:
    return operator.get("/readyz")[1].decode()


def test_work_goes_on_after_the_leader_is_killed(served: Cluster, team: str, tmp_path: pathlib.Path) -> None:
    with (
        process.running(served.kubeconfig, tmp_path, "leading", **QUICK) as leader,
        process.running(served.kubeconfig, tmp_path, "standing-by", **QUICK) as standby,
    ):
        process.wait_for("a leader", lambda: "leader" in _role_of(leader) + _role_of(standby), 60)
        if "leader" in _role_of(standby):
            leader, standby = standby, leader
        leader.wait_ready()
        standby.wait_ready("standby")
        apply_service(served, team)
        wait_serving(served, team, 1)
        assert leader.metric("gpufleet_api_writes_total") > 0
        assert standby.metric("gpufleet_api_writes_total") == 0
        leader.kill()
        served.kubectl("scale", f"tsvc/{NAME}", "-n", team, "--replicas=2")
        standby.wait_ready(timeout_s=30)
        wait_serving(served, team, 2)
