from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gpufleet.api import rollout as rollouts
from gpufleet.decide.serving import rollout, routing
from gpufleet.state import view
from tests import builders

ROUTE = {"gateway": {"name": "front", "namespace": "infra"}, "hostnames": ["vision.example.com"]}
BOTH = {"old": rollout.Revision("old", 3, 3, 3), "new": rollout.Revision("new", 1, 1, 1)}


def canary(weight: int, phase: rollouts.Phase = "Canary") -> rollouts.RolloutStatus:
    return rollouts.RolloutStatus(revision="new", previous="old", phase=phase, weight=weight)


def facts(revisions: dict[str, rollout.Revision], weight: int | None = 30) -> rollout.Facts:
    held = None if weight is None else rollouts.Canary(weight=weight)
    return rollout.Facts("new", 4, revisions, rollouts.Rollout(canary=held))


def step(status: rollouts.RolloutStatus | None) -> rollout.Step:
    return rollout.Step({}, frozenset(), status)


@pytest.mark.parametrize(
    ("revisions", "status", "expected"),
    [
        pytest.param(BOTH, canary(30), {"new": 30, "old": 70}, id="a canary"),
        pytest.param(BOTH, canary(30, "Progressing"), {"new": 30, "old": 70}, id="on its way"),
        pytest.param(BOTH, canary(0), {"new": 0, "old": 100}, id="taken back"),
        pytest.param(BOTH, canary(100, "Progressing"), {"new": 100, "old": 0}, id="promoted"),
        pytest.param(BOTH, canary(30, "Waiting"), {}, id="not begun"),
        pytest.param(BOTH, canary(30, "Returned"), {}, id="failed"),
        pytest.param(BOTH, None, {}, id="no rollout"),
        pytest.param(
            {**BOTH, "new": rollout.Revision("new", 1, 0, 1)}, canary(30), {}, id="one of them cannot answer"
        ),
        pytest.param({"old": BOTH["old"]}, canary(30), {}, id="one of them is not there"),
    ],
)
def test_weights(
    revisions: dict[str, rollout.Revision], status: rollouts.RolloutStatus | None, expected: dict[str, int]
) -> None:
    assert routing.find_weights(facts(revisions), step(status)) == expected


def test_a_rollout_without_a_canary_leaves_the_traffic_to_readiness() -> None:
    assert routing.find_weights(facts(BOTH, None), step(canary(100, "Progressing"))) == {}


def plan(status: rollouts.RolloutStatus | None, kinds: frozenset[str], **spec: Any) -> routing.Routing:
    given = view.ServiceView(builders.make_service(**spec), kinds=kinds)
    return routing.plan(given, facts(BOTH), step(status))


def test_one_backend_while_nothing_is_shared() -> None:
    found = plan(None, frozenset({"HTTPRoute"}), route=ROUTE)
    [made] = found.manifests
    assert (made["kind"], made["metadata"]["name"]) == ("HTTPRoute", "vision")
    assert made["spec"]["hostnames"] == ["vision.example.com"]
    assert made["spec"]["parentRefs"][0]["namespace"] == "infra"
    [backend] = made["spec"]["rules"][0]["backendRefs"]
    assert (backend["name"], backend["port"], backend["weight"]) == ("vision", 8000, 1)
    assert found.traffic == "Replicas"


def test_a_canary_has_weights_and_services_of_its_own() -> None:
    found = plan(canary(30), frozenset({"GRPCRoute"}), route={**ROUTE, "protocol": "GRPC"})
    by_name = {(one["kind"], one["metadata"]["name"]): one for one in found.manifests}
    assert by_name.keys() == {("Service", "vision-new"), ("Service", "vision-old"), ("GRPCRoute", "vision")}
    assert by_name["Service", "vision-new"]["spec"]["selector"]["gpufleet.dev/revision"] == "new"
    backends = by_name["GRPCRoute", "vision"]["spec"]["rules"][0]["backendRefs"]
    assert [(one["name"], one["port"], one["weight"]) for one in backends] == [
        ("vision-new", 8001, 30),
        ("vision-old", 8001, 70),
    ]
    assert found.traffic == "Route"


def test_without_the_gateway_api_it_is_said() -> None:
    found = plan(canary(30), frozenset(), route=ROUTE)
    assert (found.manifests, found.traffic) == ((), "Replicas")
    assert "HTTPRoute of the Gateway API, which is not installed" in found.fault


def test_nobody_asked_for_a_route() -> None:
    assert dataclasses.astuple(plan(canary(30), frozenset({"HTTPRoute"}))) == ((), "Replicas", "")
