"""MIG layouts on a real API server: with the chart's rights, through a restart, around what pods hold."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gpufleet.decide.mig import claims
from gpufleet.state import names
from gpufleet_sandbox import kubectl
from tests import access, builders_api
from tests.integration.conftest import Cluster
from tests.integration.operator import process
from tests.integration.operator.mig_node import CONFIG_MAP, NAMESPACE, TAINT, MigNode
from tests.integration.operator.test_rights import refusals

ONE, THREE = "nvidia.com/mig-1g.10gb", "nvidia.com/mig-3g.40gb"
SEVEN = ("1g.10gb",) * 7
ENV = {
    "GPUFLEET_LEASE_DURATION_S": "3",
    "GPUFLEET_LEASE_RENEW_S": "0.8",
    "GPUFLEET_MIG_CONFIG_SETTLE_S": "0",
    "GPUFLEET_MIG_SETTLE_S": "1",
    "GPUFLEET_MIG_CONFIRM_S": "1",
}

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def rights(served: Cluster, tmp_path: pathlib.Path) -> pathlib.Path:
    """A kubeconfig with the operator's own rights; mig-manager's namespace exists."""
    client = kubectl.Kubectl(served.kubectl_path, served.kubeconfig)
    access.install_chart(client)
    served.try_kubectl("create", "namespace", NAMESPACE)
    return access.write_kubeconfig(client, tmp_path / "operator.kubeconfig")


@pytest.fixture
def node(served: Cluster, team: str) -> Iterator[MigNode]:
    """Two GPUs of seven small slices each, in a pool of its own."""
    made = MigNode(served, f"mig-{team}"[:60].strip("-"), SEVEN, SEVEN)
    made.create(team)
    yield made
    served.try_kubectl("delete", "gpool", team, "--wait=false")
    served.try_kubectl("delete", "namespace", team, "--wait=false")
    served.try_kubectl("delete", "node", made.name)


def make_pool(cluster: Cluster, team: str, **policy: Any) -> None:
    wanted = builders_api.make_pool(team, nodeSelector={"gpufleet.dev/pool": team}, mig=policy)
    wanted["spec"]["nodeSelector"].pop("gpufleet.dev/pool", None)
    wanted["spec"]["nodeSelector"] = {"gpufleet.dev/pool": team}
    cluster.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(wanted))


def make_pod(cluster: Cluster, team: str, node: MigNode, name: str, resource: str) -> None:
    """A pod that could run on this node only."""
    container = {"name": "main", "image": "x", "resources": {"limits": {resource: "1"}}}
    wanted = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": team},
        "spec": {
            "containers": [container],
            "nodeSelector": {"gpufleet.dev/pool": team},
            "tolerations": [{"key": TAINT, "operator": "Exists"}],
        },
    }
    cluster.kubectl("create", "-f", "-", input=json.dumps(wanted))


def phase(cluster: Cluster, team: str, name: str) -> str:
    return cluster.kubectl("get", "pod", name, "-n", team, "-o", "jsonpath={.status.phase}")


def is_fenced(node: MigNode) -> bool:
    shown = node.read()
    return any(one["key"] == names.REPARTITION_TAINT for one in shown["spec"].get("taints", ()))


def ticking(node: MigNode, holds: Callable[[], bool]) -> Callable[[], bool]:
    """The condition, with one look of the node before each."""

    def look() -> bool:
        node.tick()
        return holds()

    return look


def read_status(cluster: Cluster, team: str) -> dict[str, Any]:
    shown = json.loads(cluster.kubectl("get", "gpool", team, "-o", "json"))
    found: dict[str, Any] = shown.get("status", {}).get("mig") or {}
    return found


def reasons_told(cluster: Cluster, team: str) -> set[str]:
    shown = json.loads(cluster.kubectl("get", "events", "-n", "default", "-o", "json"))["items"]
    return {one["reason"] for one in shown if one["involvedObject"]["name"] == team}


def start_with_a_holder(served: Cluster, team: str, node: MigNode) -> str:
    """A pod that holds a slice of GPU 0; its UID."""
    make_pod(served, team, node, "stays", ONE)
    process.wait_for("the pod", lambda: phase(served, team, "stays") == "Running", 60)
    node.tick()
    return served.kubectl("get", "pod", "stays", "-n", team, "-o", "jsonpath={.metadata.uid}")


def test_a_pending_pod_has_its_slice_cut_beside_one_that_runs(
    served: Cluster, rights: pathlib.Path, team: str, node: MigNode, tmp_path: pathlib.Path
) -> None:
    uid = start_with_a_holder(served, team, node)
    held = next(iter(node.held))
    make_pod(served, team, node, "waits", THREE)
    make_pool(served, team, mode="Dynamic", act="Active")
    with process.running(rights, tmp_path, **ENV) as operator:
        operator.wait_ready()
        process.wait_for("the fence", lambda: is_fenced(node), 60)
        operator.kill()
    with process.running(rights, tmp_path, name="again", **ENV) as operator:
        operator.wait_ready()
        process.wait_for("the slice", ticking(node, lambda: phase(served, team, "waits") == "Running"), 90)
        assert held in {one.uuid for one in node.stock.gpus[0].instances}, "the slice that runs is the same"
        assert served.kubectl("get", "pod", "stays", "-n", team, "-o", "jsonpath={.metadata.uid}") == uid
        assert not is_fenced(node)
        assert node.errors == []
        process.wait_for("the status", lambda: read_status(served, team).get("nodesInFlight", 0) == 0, 60)
        assert {"Labelled", "Repartitioned"} <= reasons_told(served, team)
        seen = {one["node"]: one for one in operator.snapshot()["repartition"]}
        assert seen[node.name]["phase"] == "Idle"
        assert operator.metric("gpufleet_mig_steps_total", kind="Finish", result="done") == 1
        config = json.loads(served.kubectl("get", "configmap", CONFIG_MAP, "-n", NAMESPACE, "-o", "json"))
        assert node.applied in config["data"]["config.yaml"]
        assert refusals(served) == []


def test_a_failed_change_goes_back_and_is_told(
    served: Cluster, rights: pathlib.Path, team: str, node: MigNode, tmp_path: pathlib.Path
) -> None:
    start_with_a_holder(served, team, node)
    make_pod(served, team, node, "waits", THREE)
    make_pool(served, team, mode="Dynamic", act="Active")
    node.fails = True
    with process.running(rights, tmp_path, **ENV) as operator:
        operator.wait_ready()
        told = ticking(node, lambda: "RolledBack" in reasons_told(served, team))
        process.wait_for("the way back", told, 120)
        assert not is_fenced(node)
        assert node.stock.gpus[1].layout.counts == {"1g.10gb": 7}
        assert len(node.errors) == 1
        process.wait_for("the hold", lambda: _kept_out(served, team) == {"Held"}, 60)


def _kept_out(served: Cluster, team: str) -> set[str]:
    return {one["reason"] for one in read_status(served, team).get("keptOut", ())}


def test_advice_is_told_and_writes_nothing(
    served: Cluster, rights: pathlib.Path, team: str, node: MigNode, tmp_path: pathlib.Path
) -> None:
    make_pod(served, team, node, "waits", THREE)
    make_pool(served, team, mode="Dynamic")
    before = node.read()
    with process.running(rights, tmp_path, **ENV) as operator:
        operator.wait_ready()
        plan = process.wait_for("the plan", lambda: read_status(served, team).get("plan"), 60)
        assert plan["reason"] == "Repartition", plan
        assert _kept_out(served, team) == {"Advisory"}
        assert operator.metric("gpufleet_mig_steps_total") == 0
    now = node.read()
    assert now["spec"].get("taints") == before["spec"].get("taints")
    assert now["metadata"]["labels"] == before["metadata"]["labels"]
    assert now["metadata"]["annotations"].keys() == before["metadata"]["annotations"].keys()


def test_the_disruption_budget_outlives_the_operator(
    served: Cluster, rights: pathlib.Path, team: str, node: MigNode, tmp_path: pathlib.Path
) -> None:
    """Both GPUs are cut anew; the next change of the same hour waits, also for another process."""
    env = {**ENV, "GPUFLEET_DISRUPTION_GPUS_PER_HOUR": "2"}
    make_pool(served, team, mode="Static", act="Active", layout=[{"profile": "3g.40gb", "count": 2}])
    with process.running(rights, tmp_path, **env) as operator:
        operator.wait_ready()
        cut = ticking(node, lambda: names.MIG_CUTS_ANNOTATION in node.read()["metadata"]["annotations"])
        process.wait_for("the mark", cut, 120)
        done = ticking(node, lambda: node.applied != "" and not is_fenced(node))
        process.wait_for("the layout", done, 120)
    make_pool(served, team, mode="Static", act="Active", layout=[{"profile": "1g.10gb", "count": 7}])
    with process.running(rights, tmp_path, name="again", **env) as operator:
        operator.wait_ready()
        process.wait_for("the reason", lambda: _kept_out(served, team) == {"DisruptionBudget"}, 120)
        assert not is_fenced(node)
        taken = process.wait_for(
            "the metric", lambda: operator.metric("gpufleet_disruption_gpus", act="Repartition"), 60
        )
        assert taken == 2.0
        assert operator.metric("gpufleet_disruption_limit_gpus") == 2.0


def make_resource_slice(node: MigNode) -> dict[str, Any]:
    """As NVIDIA's driver publishes one slice that it would make; its counters are in another object."""
    attributes = {"type": {"string": "mig"}, "profile": {"string": "1g.10gb"}}
    consumed = [{"counterSet": "gpu-0", "counters": {"memory-slice-0": {"value": "1"}}}]
    device = {"name": "gpu-0-mig-1g10gb-0", "attributes": attributes, "consumesCounters": consumed}
    return {
        "apiVersion": claims.API_VERSION,
        "kind": "ResourceSlice",
        "metadata": {"name": node.name},
        "spec": {
            "driver": claims.DRIVER,
            "nodeName": node.name,
            "pool": {"name": node.name, "generation": 1, "resourceSliceCount": 2},
            "devices": [device],
        },
    }


def test_a_node_whose_slices_a_driver_makes_is_left_alone(
    served: Cluster, rights: pathlib.Path, team: str, node: MigNode, tmp_path: pathlib.Path
) -> None:
    served.kubectl("create", "-f", "-", input=json.dumps(make_resource_slice(node)))
    make_pod(served, team, node, "waits", THREE)
    make_pool(served, team, mode="Dynamic", act="Active")
    with process.running(rights, tmp_path, **ENV) as operator:
        operator.wait_ready()
        process.wait_for("the reason", lambda: _kept_out(served, team) == {"SlicesByClaim"}, 120)
        assert not is_fenced(node)
        served.kubectl("delete", "resourceslice", node.name)
        process.wait_for("the fence", lambda: is_fenced(node), 120)
        assert refusals(served) == []
