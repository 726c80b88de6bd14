"""Why a service has its servers: the read API and the command, on a real control plane.

The operator runs outside the cluster here, so that the command reaches its read API by --server; the way
through the API server's proxy is taken by the tutorial on autoscaling, on real nodes.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from gpufleet_sandbox import kubectl
from tests import access, builders_api
from tests.integration.conftest import Cluster
from tests.integration.operator import process, prometheus

NAME = "vision"
SCALING = {"maxReplicas": 3, "targets": [{"signal": "RequestRate", "value": 10}]}

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def metrics() -> Iterator[prometheus.Prometheus]:
    with prometheus.serving() as told:
        yield told


@pytest.fixture(scope="module")
def operator(
    served: Cluster, metrics: prometheus.Prometheus, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[process.Operator]:
    folder = tmp_path_factory.mktemp("operator")
    env = {"GPUFLEET_PROMETHEUS_URL": metrics.url, "GPUFLEET_PROMETHEUS_INTERVAL_S": "1"}
    with process.running(served.kubeconfig, folder, "explained", **env) as started:
        yield started.wait_ready()


@pytest.fixture
def loaded(
    served: Cluster, team: str, operator: process.Operator, metrics: prometheus.Prometheus
) -> Iterator[str]:
    """A namespace with a service in Advisory, one server, to which 18 requests per second come."""
    scaling = {**SCALING, "mode": "Advisory"}
    apply(served, builders_api.make_service(NAME, team, autoscaling=scaling))
    metrics.pods = [(team, process.wait_for("a ready pod", lambda: find_ready_pod(served, team), 60))]
    metrics.values = {"age_s": 3.0, "served": 18.0, "failed": 0.0, "pending": 2.0}
    process.wait_for("a decision", lambda: "ScaledUp" in reasons(served, team), 60)
    yield team
    served.kubectl("delete", "tsvc", NAME, "-n", team)


def apply(cluster: Cluster, manifest: dict[str, Any]) -> None:
    cluster.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(manifest))


def find_ready_pod(cluster: Cluster, namespace: str) -> str:
    listed = json.loads(cluster.kubectl("get", "pods", "-n", namespace, "-o", "json"))["items"]
    conditions = {pod["metadata"]["name"]: pod["status"].get("conditions", []) for pod in listed}
    ready = {"type": "Ready", "status": "True"}
    return next(
        (name for name, all_ in conditions.items() if any(ready.items() <= one.items() for one in all_)), ""
    )


def read_status(cluster: Cluster, namespace: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.kubectl("get", "tsvc", NAME, "-n", namespace, "-o", "json"))
    return found.get("status", {})


def reasons(cluster: Cluster, namespace: str) -> list[str]:
    record = read_status(cluster, namespace).get("autoscaling") or {}
    return [one["reason"] for one in record.get("decisions", [])]


def explain(cluster: Cluster, *args: str) -> subprocess.CompletedProcess[str]:
    argv = [str(pathlib.Path(sys.executable).with_name("gpufleet")), "explain", *args]
    env = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)


def test_decisions_and_what_if(served: Cluster, loaded: str, operator: process.Operator) -> None:
    status, body = operator.get(f"/decisions?namespace={loaded}")
    assert status == 200
    [told] = json.loads(body)["services"]
    assert (told["name"], told["mode"], told["current"]) == (NAME, "Advisory", 1)
    assert (told["scaling"]["replicas"], told["scaling"]["leading"]) == (2, "RequestRate")
    assert told["readings"]["requestsPerSecond"]["value"] == 18.0

    before = read_status(served, loaded)
    status, body = operator.get(f"/what-if?namespace={loaded}&name={NAME}&rate=5")
    decision = json.loads(body)["decision"]
    assert (status, decision["wanted"], decision["replicas"]) == (200, 9, 3)
    assert [one["reason"] for one in decision["clamps"]] == ["AtMaximum"]
    assert operator.get(f"/what-if?namespace={loaded}&name=other&rate=5")[0] == 404
    assert operator.get(f"/what-if?namespace={loaded}&name={NAME}&rate=many")[0] == 400
    assert read_status(served, loaded) == before, "asking changes nothing"
    assert operator.metric("gpufleet_autoscaler_wanted_servers", mode="Advisory") == 2


def test_the_command_asks_the_operator(served: Cluster, loaded: str, operator: process.Operator) -> None:
    server = f"http://127.0.0.1:{operator.port}"
    found = explain(served, f"tsvc/{NAME}", "-n", loaded, "--server", server, "--what-if", "rate=0.5x")
    assert found.returncode == 0, found.stderr
    assert f"{loaded}/{NAME} has 1 server" in found.stdout
    assert "requests         18 per second" in found.stdout
    assert "So 2 servers would be right. ScaledUp: from 1 to 2 servers: RequestRate is 18" in found.stdout
    assert "With 0.5 times the load the signals would ask for 1 server, and it would have 1:" in found.stdout


def test_without_the_operator_the_command_tells_status_alone(
    served: Cluster, loaded: str, operator: process.Operator
) -> None:
    """No Service of the operator is in this cluster, as where one may not use its proxy."""
    found = explain(served, "tsvc", NAME, "-n", loaded)
    assert found.returncode == 0, found.stderr
    assert "What is seen now is not known" in found.stdout
    assert "ScaledUp: from 1 to 2 servers: RequestRate is 18, its target 10" in found.stdout


def test_a_service_that_is_not_there(served: Cluster) -> None:
    found = explain(served, "tsvc/nobody", "-n", "default")
    assert found.returncode == 1
    assert '"nobody" not found' in found.stderr


def test_the_charts_role_is_enough(served: Cluster, loaded: str, tmp_path: pathlib.Path) -> None:
    """The chart's Service has no pods here: what lies before them is the API server's own judgement."""
    client = kubectl.Kubectl(served.kubectl_path, served.kubeconfig)
    access.install_chart(client)
    served.kubectl("create", "serviceaccount", "reader", "-n", loaded)
    account = f"--serviceaccount={loaded}:reader"
    served.kubectl("create", "rolebinding", "reader", "--clusterrole=gpufleet-view", account, "-n", loaded)
    token = served.kubectl("create", "token", "reader", "-n", loaded).strip()
    config = access.write_kubeconfig(client, tmp_path / "kubeconfig", token)
    reader = dataclasses.replace(served, kubeconfig=config)

    refused = explain(reader, f"tsvc/{NAME}", "-n", loaded)
    assert refused.returncode == 0, refused.stderr
    assert "(bind the Role gpufleet-snapshot" in refused.stdout
    assert "ScaledUp: from 1 to 2 servers" in refused.stdout

    subject = {"kind": "ServiceAccount", "name": "reader", "namespace": loaded}
    access.install_chart(client, **{f"userRoles.readers[0].{key}": value for key, value in subject.items()})
    let_through = explain(reader, f"tsvc/{NAME}", "-n", loaded)
    assert 'no endpoints available for service "gpufleet' in let_through.stdout
