"""Servers that the load asks for, within what the fleet has."""

from __future__ import annotations

from typing import Any

import pytest

from gpufleet.api import autoscaling
from gpufleet.decide.autoscaling import scaler
from gpufleet.decide.placement import assign, brakes
from gpufleet.state import assignment
from tests.builders import GPU, NOW, make_node, make_pool, make_service, make_service_pod, make_snapshot

ASSIGNED = {"resource": GPU, "count": 1, "products": []}
ONE = {"count": 1}


def wanting(before: int, replicas: int, mode: autoscaling.Mode = "Active") -> scaler.Scaling:
    return scaler.Scaling(mode, before, replicas, replicas)


def run(
    scaling: scaler.Scaling | None,
    gpus: int,
    mode: str = "Active",
    limits: brakes.Limits = brakes.NONE,
    max_nodes: int | None = None,
    **spec: Any,
) -> assignment.Assignment | None:
    """What is written for a service of two servers with one GPU each, on one node; `gpus` of 0: on none."""
    pools = [make_pool(maxNodes=max_nodes)] if max_nodes is not None else []
    assigned = {**ASSIGNED, "pool": "a100"} if pools else ASSIGNED
    status = {"assignment": {"replicas": 2, "accelerator": assigned, "requested": "count=1"}}
    scales = {"mode": mode, "maxReplicas": 50, "targets": [{"signal": "QueueWait", "value": 5}]}
    service = make_service("vision", status=status, accelerator=ONE, autoscaling=scales, **spec)
    pods = [make_service_pod(f"p{n}", "vision", node="n1", requests={GPU: 1}) for n in range(2)]
    nodes = [make_node("n1", {GPU: gpus})] if gpus else []
    view = make_snapshot(nodes=nodes, services=[service], pods=pods if gpus else [], pools=pools)
    found = assign.assign(view, {service.metadata.uid: scaling} if scaling else {}, NOW, limits)
    return found[0] if found else None


@pytest.mark.parametrize(
    ("scaling", "gpus", "replicas", "reason"),
    [
        pytest.param(wanting(2, 4), 8, 4, scaler.SCALED_UP, id="there is room"),
        pytest.param(wanting(2, 9), 4, 4, scaler.SCALED_UP, id="as far as there is room"),
        pytest.param(wanting(2, 9), 2, 2, scaler.NO_ROOM, id="a full fleet"),
        pytest.param(wanting(2, 1), 2, 1, scaler.SCALED_DOWN, id="shrinking needs no room"),
        pytest.param(wanting(2, 4, "Advisory"), 8, 2, scaler.SCALED_UP, id="advisory takes nothing"),
    ],
)
def test_growth(scaling: scaler.Scaling, gpus: int, replicas: int, reason: str) -> None:
    found = run(scaling, gpus, mode=scaling.mode)
    assert found is not None
    assert found.autoscaling is not None
    newest = found.autoscaling["decisions"][0]
    assert (found.value["replicas"], newest["reason"]) == (replicas, reason)
    assert [event.reason for event in found.events] == [reason]


@pytest.mark.parametrize(
    ("scaling", "gpus", "max_nodes", "replicas", "reason"),
    [
        pytest.param(wanting(2, 9), 4, 1, 4, scaler.SCALED_UP, id="no node is to come"),
        pytest.param(wanting(2, 9), 4, 2, 8, scaler.SCALED_UP, id="one node is to come"),
        pytest.param(wanting(2, 9), 4, 9, 9, scaler.SCALED_UP, id="more than are needed"),
        pytest.param(wanting(2, 9), 2, 2, 4, scaler.SCALED_UP, id="what is there is full"),
        pytest.param(wanting(2, 9, "Advisory"), 2, 2, 2, scaler.SCALED_UP, id="advisory"),
        pytest.param(wanting(2, 9), 0, 2, 2, scaler.INVENTORY_UNKNOWN, id="nobody knows what a node offers"),
    ],
)
def test_nodes_to_come(
    scaling: scaler.Scaling, gpus: int, max_nodes: int, replicas: int, reason: str
) -> None:
    """Pods of the service that wait for a node take their share of it first."""
    found = run(scaling, gpus, mode=scaling.mode, max_nodes=max_nodes)
    assert found is not None
    assert found.autoscaling is not None
    assert (found.value["replicas"], found.autoscaling["decisions"][0]["reason"]) == (replicas, reason)


def test_the_surge_limit_holds_growth_back() -> None:
    found = run(wanting(2, 9), 16, limits=brakes.Limits(surge_gpus=5))
    assert found is not None
    assert found.autoscaling is not None
    newest = found.autoscaling["decisions"][0]
    assert found.value["replicas"] == 5, "two of the five are not ready yet"
    assert [one["reason"] for one in newest["clamps"]] == [scaler.SURGE_LIMIT]


def test_lack_of_room_says_what_is_needed() -> None:
    found = run(wanting(2, 9), 2)
    assert found is not None
    assert found.events[0].type == "Warning"
    assert (
        "7 more servers need 1 × nvidia.com/gpu each, and the fleet has room for 0" in found.events[0].message
    )


def test_off_drops_the_record_and_keeps_the_number() -> None:
    found = run(None, 8, mode="Off")
    assert found is None or (found.autoscaling, found.value["replicas"]) == (None, 2)
