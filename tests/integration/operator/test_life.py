"""Start, probes, leader election and end of the operator process."""

from __future__ import annotations

import json
import pathlib
import time

import pytest

from tests.integration.conftest import Cluster
from tests.integration.operator import process

QUICK = {"GPUFLEET_LEASE_DURATION_S": "3", "GPUFLEET_LEASE_RENEW_S": "0.8"}

pytestmark = pytest.mark.timeout(180)


def read_holder(cluster: Cluster) -> str:
    lease = cluster.kubectl("-n", "gpufleet-system", "get", "lease", "gpufleet-operator", "-o", "json")
    holder: str = json.loads(lease)["spec"].get("holderIdentity") or ""
    return holder


def test_a_leader_serves_probes_metrics_and_the_snapshot(served: Cluster, tmp_path: pathlib.Path) -> None:
    with process.running(served.kubeconfig, tmp_path, "solo", **QUICK) as operator:
        operator.wait_ready()
        assert operator.get("/healthz")[0] == 200
        assert operator.metric("gpufleet_leader") == 1
        assert read_holder(served) == "solo"
        nodes = json.loads(served.kubectl("get", "nodes", "-o", "json"))["items"]
        assert [node["name"] for node in operator.snapshot()["nodes"]] == sorted(
            node["metadata"]["name"] for node in nodes
        )
        assert operator.terminate() == 0, operator.logs()
        assert read_holder(served) == ""


def test_a_standby_takes_over_at_once_after_sigterm(served: Cluster, tmp_path: pathlib.Path) -> None:
    with (
        process.running(served.kubeconfig, tmp_path, "first", GPUFLEET_LEASE_DURATION_S="30") as first,
        process.running(served.kubeconfig, tmp_path, "second", GPUFLEET_LEASE_DURATION_S="30") as second,
    ):
        process.wait_for("a leader", lambda: "leader" in role_of(first) + role_of(second))
        leader, standby = (first, second) if "leader" in role_of(first) else (second, first)
        standby.wait_ready("standby")

        def knows_the_leader() -> bool:
            status, body = standby.get("/snapshot")
            return (status, json.loads(body)["leader"]) == (503, leader.env["GPUFLEET_POD_NAME"])

        process.wait_for("a standby that names the leader", knows_the_leader)
        leader.wait_ready()
        assert leader.terminate() == 0
        standby.wait_ready(timeout_s=10)


def role_of(operator: process.Operator) -> str:
    return operator.get("/readyz")[1].decode()


def test_a_standby_takes_over_after_sigkill_once_the_lease_is_over(
    served: Cluster, tmp_path: pathlib.Path
) -> None:
    with process.running(served.kubeconfig, tmp_path, "killed", **QUICK) as first:
        first.wait_ready()
        with process.running(served.kubeconfig, tmp_path, "successor", **QUICK) as second:
            second.wait_ready("standby")
            first.kill()
            killed_s = time.monotonic()
            second.wait_ready(timeout_s=20)
            assert time.monotonic() - killed_s > 1
            assert read_holder(served) == "successor"


def test_a_leader_whose_lease_is_taken_ends_at_once(served: Cluster, tmp_path: pathlib.Path) -> None:
    with process.running(served.kubeconfig, tmp_path, "robbed", **QUICK) as operator:
        operator.wait_ready()
        patch = json.dumps({"spec": {"holderIdentity": "thief", "leaseDurationSeconds": 1}})
        served.kubectl(
            "-n", "gpufleet-system", "patch", "lease", "gpufleet-operator", "--type=merge", "-p", patch
        )
        process.wait_for("the end of the process", lambda: not operator.is_running, 10)
        assert operator.process is not None
        assert operator.process.returncode == 1
        assert "lease is lost" in operator.logs()


def test_without_the_kinds_it_waits_and_says_so(served: Cluster, tmp_path: pathlib.Path) -> None:
    crds = pathlib.Path(__file__).parents[3] / "crds"
    served.kubectl("delete", "-f", str(crds), "--wait=true")
    try:
        with process.running(served.kubeconfig, tmp_path, "early", **QUICK) as operator:
            process.wait_for(
                "words about what is missing", lambda: "listing TritonService" in operator.logs()
            )
            assert operator.get("/readyz")[0] == 503
            served.kubectl("apply", "--server-side", "-f", str(crds))
            operator.wait_ready()
    finally:
        served.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(crds))
        served.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(crds))
