"""The chart grants what the operator uses and nothing else, by the API server's record of one long life."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from gpufleet_sandbox import gobuild, kubectl, progress
from tests import access, builders_api, rights
from tests.integration.conftest import Cluster
from tests.integration.operator import mig_node, process
from tests.integration.operator.test_flows import apply, condition, get, has_condition
from tests.integration.operator.test_training import Gang
from tests.rights import Right

NAME = "vision"
ROUTE = {"gateway": {"name": "front"}, "hostnames": ["vision.example.com"]}
ENV = {
    "GPUFLEET_LEASE_DURATION_S": "3",
    "GPUFLEET_LEASE_RENEW_S": "0.8",
    "GPUFLEET_MIG_CONFIG_SETTLE_S": "0",
    "GPUFLEET_MIG_SETTLE_S": "1",
    "GPUFLEET_MIG_CONFIRM_S": "1",
}
MEASURED = "is written from what model agents have measured, and simulated pods have none"
MISSED = "reads again what a watch has missed, and none is missed here"
BLOCKING = "is asked for by an admission plugin that this API server has not"
NOT_IN_THIS_RUN = {
    **{
        Right("gpufleet.dev", "modelprofiles", verb): MEASURED
        for verb in ("get", "create", "patch", "delete")
    },
    **{
        Right("gpufleet.dev", plural, "get"): MISSED
        for plural in ("tritonservices", "trainingjobs", "gpupools")
    },
    **{
        Right("gpufleet.dev", f"{plural}/finalizers", "update"): BLOCKING
        for plural in ("tritonservices", "trainingjobs")
    },
}

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def gateway(served: Cluster) -> Iterator[None]:
    """The kinds of the Gateway API."""
    module = gobuild.download("gateway-api", "sigs.k8s.io/gateway-api", progress.Reporter())
    crds = str(module / "config" / "crd" / "standard")
    served.kubectl("apply", "--server-side", "-f", crds)
    yield
    served.kubectl("delete", "-f", crds, "--wait=false")


@pytest.fixture
def config(served: Cluster, gateway: None, tmp_path: pathlib.Path) -> pathlib.Path:
    """A kubeconfig with the operator's own rights; mig-manager's namespace exists, a Lease does not."""
    client = kubectl.Kubectl(served.kubectl_path, served.kubeconfig)
    access.install_chart(client)
    served.try_kubectl("create", "namespace", mig_node.NAMESPACE)
    served.kubectl("delete", "lease", "gpufleet-operator", "-n", "gpufleet-system", "--ignore-not-found")
    return access.write_kubeconfig(client, tmp_path / "operator.kubeconfig")


@pytest.fixture
def node(served: Cluster, team: str) -> Iterator[mig_node.MigNode]:
    """One GPU of seven small slices, in a pool of its own."""
    made = mig_node.MigNode(served, f"mig-{team}"[:60].strip("-"), ("1g.10gb",) * 7)
    made.create(team)
    yield made
    served.try_kubectl("delete", "gpool", team, "--wait=false")
    served.try_kubectl("delete", "namespace", team, "--wait=false")
    served.try_kubectl("delete", "node", made.name)


def test_every_verb_is_granted_and_used(
    served: Cluster, config: pathlib.Path, team: str, node: mig_node.MigNode, tmp_path: pathlib.Path
) -> None:
    asked = rights.Requests(served.kubeconfig.parent / "audit.log", access.USER)
    with process.running(config, tmp_path, **ENV) as operator:
        operator.wait_ready()
        live_as_a_service(served, team)
        live_as_a_gang(Gang(served, team))
        live_as_a_pool(served, team, node, asked)
        assert operator.terminate() == 0
    granted = read_granted(served)
    assert tell(asked.refused()) == [], "the chart does not grant what the operator asks for"
    assert tell(asked.used() - granted) == [], "another role grants what the chart does not"
    assert tell(granted - asked.used() - NOT_IN_THIS_RUN.keys()) == [], "the chart grants what is not used"
    assert tell(NOT_IN_THIS_RUN.keys() - granted) == [], "explained, and not granted any more"


def tell(found: Iterable[Right]) -> list[str]:
    return sorted(f"{one.verb} {one.resource}.{one.group}" for one in found)


def read_granted(cluster: Cluster) -> set[Right]:
    roles = ("clusterrole/gpufleet", "role/gpufleet")
    shown = [cluster.kubectl("get", role, "-n", "gpufleet-system", "-o", "json") for role in roles]
    return {right for one in shown for right in rights.read_rules(json.loads(one)["rules"])}


def live_as_a_service(cluster: Cluster, team: str) -> None:
    """Routes of both kinds, a canary, a model more, a change by hand, an end."""

    def settle(what: str, **spec: Any) -> None:
        apply(cluster, builders_api.make_service(NAME, team, **{"replicas": 4, **spec}))
        process.wait_for(what, lambda: is_settled(cluster, team), 120)

    hello, day = ({"env": [{"name": "GREETING", "value": text}]} for text in ("hello", "good day"))
    settle("a service with a route", route=ROUTE, template=hello)
    canary = {"canary": {"weight": 50}}
    apply(
        cluster, builders_api.make_service(NAME, team, replicas=4, route=ROUTE, template=day, rollout=canary)
    )
    process.wait_for("a canary", lambda: len(backends(cluster, team)) == 2, 120)
    settle("its promotion", route=ROUTE, template=day)
    grpc = {**ROUTE, "protocol": "GRPC"}
    settle("the other route", route=grpc, template=day)
    settle("another name", route={**grpc, "hostnames": ["other.example.com"]}, template=day)
    settle("no route", template=day)
    process.wait_for("the end of the route", lambda: not get(cluster, team, "grpcroute", NAME), 60)
    models = builders_api.make_service(NAME, team)["spec"]["models"]
    settle("a change of a model", template=day, models=[models[0] | {"maxBatchSize": 8}])
    cluster.kubectl("patch", "service", NAME, "-n", team, "-p", '{"spec":{"selector":{"app":"x"}}}')
    repaired = lambda: "app" not in get(cluster, team, "service", NAME)["spec"]["selector"]  # noqa: E731
    process.wait_for("the repair", repaired, 60)
    cluster.kubectl("delete", "tsvc", NAME, "-n", team)


def is_settled(cluster: Cluster, team: str) -> bool:
    service = get(cluster, team, "tsvc", NAME)
    has_seen = service.get("status", {}).get("observedGeneration") == service["metadata"]["generation"]
    told = [condition(service, type_).get("status") for type_ in ("Ready", "Reconciling", "Stalled")]
    return has_seen and told == ["True", "False", "False"]


def backends(cluster: Cluster, team: str) -> list[dict[str, Any]]:
    rules = get(cluster, team, "httproute", NAME).get("spec", {}).get("rules", [{}])
    found: list[dict[str, Any]] = rules[0].get("backendRefs", [])
    return found


def live_as_a_gang(gang: Gang) -> None:
    """A failure, another attempt, an end; the list of its hosts goes with the last."""
    policy = {"maxRestarts": 1, "backoffSeconds": 1}
    gang.apply(
        framework="MPI",
        mpi={"sshSecretName": "keys"},
        failurePolicy=policy,
        ttlSecondsAfterFinished=1,
    )
    gang.wait_running(1)
    gang.end(1, code=1)
    gang.wait_running(2)
    gang.end(2)
    process.wait_for("success", gang.says("Completed"), 90)
    process.wait_for("the end of its Jobs", lambda: not gang.names("jobs"), 60)
    gang.kubectl("delete", "tjob", "gang")


def live_as_a_pool(cluster: Cluster, team: str, node: mig_node.MigNode, asked: rights.Requests) -> None:
    """A layout that is cut under pods that a controller makes again."""
    container = {"name": "main", "image": "x", "resources": {"limits": {"nvidia.com/mig-1g.10gb": "1"}}}
    spec = {
        "containers": [container],
        "nodeSelector": {"gpufleet.dev/pool": team},
        "tolerations": [{"key": mig_node.TAINT, "operator": "Exists"}],
    }
    labels = {"app": "holds"}
    template = {"metadata": {"labels": labels}, "spec": spec}
    holder = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "holds", "namespace": team},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }
    apply(cluster, holder)

    def ticks(holds: Any) -> Any:
        node.tick()
        return holds()

    process.wait_for("the holder", lambda: ticks(lambda: node.held), 60)
    policy = {
        "mode": "Static",
        "act": "Active",
        "layout": [{"profile": "3g.40gb", "count": 2}],
        "drainPolicy": "Drain",
    }
    pool = builders_api.make_pool(team, nodeSelector={"gpufleet.dev/pool": team}, mig=policy)
    pool["spec"]["nodeSelector"] = {"gpufleet.dev/pool": team}
    apply(cluster, pool)
    evicted = Right("", "pods/eviction", "create")
    process.wait_for("an eviction", lambda: ticks(lambda: evicted in asked.used()), 120)
    process.wait_for(
        "the layout", lambda: ticks(lambda: node.stock.gpus[0].layout.counts == {"3g.40gb": 2}), 120
    )
    process.wait_for("a pool", has_condition(cluster, "default", "gpool", team, Ready="True"), 60)
