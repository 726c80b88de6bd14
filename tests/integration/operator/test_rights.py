"""The chart's rights are enough: nothing that the operator asks for is refused."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from gpufleet_sandbox import kubectl
from tests import access, builders_api, rights
from tests.integration.conftest import Cluster
from tests.integration.operator import process

QUICK = {"GPUFLEET_LEASE_DURATION_S": "3", "GPUFLEET_LEASE_RENEW_S": "0.8"}

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def operator(served: Cluster, tmp_path: pathlib.Path) -> Iterator[process.Operator]:
    """With the service account's rights and no others."""
    client = kubectl.Kubectl(served.kubectl_path, served.kubeconfig)
    access.install_chart(client)
    config = access.write_kubeconfig(client, tmp_path / "operator.kubeconfig")
    with process.running(config, tmp_path, **QUICK) as started:
        yield started.wait_ready()


def test_nothing_is_refused_in_the_whole_life_of_both_kinds(
    served: Cluster, operator: process.Operator, team: str
) -> None:
    apply(served, builders_api.make_service("vision", team))
    apply(served, builders_api.make_training_job("llm", team))
    process.wait_for("a service", lambda: reads(served, team, "tsvc", "vision", "Ready") == "True", 90)
    process.wait_for("a gang", lambda: reads(served, team, "tjob", "llm", "Reconciling"), 90)
    served.kubectl("delete", "tsvc,tjob", "--all", "-n", team)
    assert operator.terminate() == 0
    assert refusals(served) == []


def apply(cluster: Cluster, manifest: dict[str, Any]) -> None:
    cluster.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(manifest))


def reads(cluster: Cluster, namespace: str, kind: str, name: str, condition: str) -> str:
    path = f'jsonpath={{.status.conditions[?(@.type=="{condition}")].status}}'
    return cluster.kubectl("get", kind, name, "-n", namespace, "-o", path)


def refusals(cluster: Cluster) -> list[str]:
    """What the API server has forbidden to the operator's account, as verb and resource."""
    log = cluster.kubeconfig.parent / "audit.log"
    found = set()
    for line in log.read_text().splitlines():
        event = json.loads(line)
        # Whoever was not let in has no name.
        if (
            event["user"].get("username") == access.USER
            and event.get("responseStatus", {}).get("code") == 403
        ):
            about = event.get("objectRef", {})
            found.add(f"{event['verb']} {about.get('resource')}")
    return sorted(found)


def test_of_some_namespaces_it_acts_there_and_asks_for_nothing_elsewhere(
    served: Cluster, team: str, tmp_path: pathlib.Path
) -> None:
    client = kubectl.Kubectl(served.kubectl_path, served.kubeconfig)
    other = f"{team[:50]}-other"
    served.try_kubectl("create", "namespace", other)
    access.install_chart(client, watchNamespaces=f"{{{team}}}")
    config = access.write_kubeconfig(client, tmp_path / "operator.kubeconfig")
    asked = rights.Requests(served.kubeconfig.parent / "audit.log", access.USER)
    apply(served, builders_api.make_service("elsewhere", other))
    with process.running(config, tmp_path, GPUFLEET_WATCH_NAMESPACES=team, **QUICK) as operator:
        operator.wait_ready()
        apply(served, builders_api.make_service("vision", team))
        apply(served, builders_api.make_training_job("llm", team))
        apply(served, builders_api.make_pool(team))
        process.wait_for("a service", lambda: reads(served, team, "tsvc", "vision", "Ready") == "True", 90)
        process.wait_for("a gang", lambda: reads(served, team, "tjob", "llm", "Reconciling"), 90)
        process.wait_for("a pool", lambda: reads(served, team, "gpool", team, "Ready"), 90)
        named = [one["metadata"]["name"] for one in operator.snapshot()["services"]]
        assert named == ["vision"]
        served.kubectl("delete", "tsvc,tjob", "--all", "-n", team)
        process.wait_for("an empty fleet", lambda: not operator.snapshot()["services"], 60)
        assert operator.terminate() == 0
    served.kubectl("delete", "gpool", team)
    assert reads(served, other, "tsvc", "elsewhere", "Ready") == ""
    served.kubectl("delete", "namespace", other, "--wait=false")
    assert not asked.refused()
