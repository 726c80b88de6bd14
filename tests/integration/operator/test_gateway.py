"""Routes of the Gateway API as its own CRDs take them, and what is said where it is not installed."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from gpufleet_sandbox import gobuild, progress
from tests import builders_api
from tests.integration.conftest import Cluster
from tests.integration.operator import process
from tests.integration.operator.test_flows import apply, condition, get

NAME = "vision"
ROUTE = {"gateway": {"name": "front"}, "hostnames": ["vision.example.com"]}

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def operator(served: Cluster, tmp_path: pathlib.Path) -> Iterator[process.Operator]:
    with process.running(served.kubeconfig, tmp_path, GPUFLEET_RESYNC_S="5") as started:
        yield started.wait_ready()


@pytest.fixture
def crds() -> str:
    module = gobuild.download("gateway-api", "sigs.k8s.io/gateway-api", progress.Reporter())
    return str(module / "config" / "crd" / "standard")


def service(team: str, greeting: str, **more: Any) -> dict[str, Any]:
    template = {"env": [{"name": "GREETING", "value": greeting}]}
    return builders_api.make_service(NAME, team, replicas=4, route=ROUTE, template=template, **more)


def backends(served: Cluster, team: str) -> dict[str, int]:
    rules = get(served, team, "httproute", NAME).get("spec", {}).get("rules", [{}])
    return {one["name"]: one["weight"] for one in rules[0].get("backendRefs", [])}


def test_a_canary_takes_its_weight_of_the_route(
    served: Cluster, operator: process.Operator, team: str, crds: str
) -> None:
    apply(served, service(team, "hello"))

    def stalled() -> str:
        return str(condition(get(served, team, "tsvc", NAME), "Stalled").get("reason"))

    process.wait_for("the lack to be said", lambda: stalled() == "GatewayApiMissing", 60)
    served.kubectl("apply", "--server-side", "-f", crds)
    try:
        process.wait_for("the route", lambda: backends(served, team) == {NAME: 1}, 90)
        process.wait_for("nothing lacking", lambda: stalled() == "Settled", 30)
        old = get(served, team, "tsvc", NAME)["status"]["revision"]
        process.wait_for("servers", lambda: ready(served, team) == 4, 60)
        apply(served, service(team, "good day", rollout={"canary": {"weight": 30}}))
        process.wait_for("weights", lambda: sorted(backends(served, team).values()) == [30, 70], 90)
        assert backends(served, team)[f"{NAME}-{old}"] == 70
        rollout = get(served, team, "tsvc", NAME)["status"]["rollout"]
        assert rollout["traffic"] == "Route"
        apply(served, service(team, "good day"))
        process.wait_for("promotion", lambda: backends(served, team) == {NAME: 1}, 90)
        assert get(served, team, "service", f"{NAME}-{old}") == {}, "it served the canary alone"
    finally:
        served.kubectl("delete", "tsvc", "--all", "-n", team)
        served.kubectl("delete", "-f", crds, "--wait=false")


def ready(served: Cluster, team: str) -> int:
    return int(get(served, team, "tsvc", NAME).get("status", {}).get("readyReplicas", 0))
