from __future__ import annotations

from typing import Any

import pytest

from gpufleet.api import gpu_pool, reasons
from gpufleet.decide.placement import pool as pools
from gpufleet.state import snapshot
from tests import builders
from tests.builders import GPU, H100, NOW, make_node, make_pool, make_snapshot


def decide(pool: gpu_pool.GPUPool, view: snapshot.Snapshot) -> dict[str, Any]:
    decided = pools.decide(pool, view, NOW)
    assert (decided.apply, decided.keep) == ((), frozenset())
    gpu_pool.GPUPoolStatus.model_validate(decided.status)
    return dict(decided.status)


@pytest.mark.parametrize(
    ("pool", "nodes", "condition", "words"),
    [
        pytest.param(make_pool(), [make_node()], ("True", reasons.POOL_READY), [], id="well"),
        pytest.param(make_pool(), [], ("False", reasons.NO_MATCHING_NODES), ["nodeSelector"], id="no nodes"),
        pytest.param(
            make_pool(),
            [make_node(pool="other")],
            ("False", reasons.NO_MATCHING_NODES),
            [],
            id="nodes of another pool",
        ),
        pytest.param(
            make_pool(), [make_node(ready=False)], ("False", reasons.NODES_NOT_READY), [], id="none is Ready"
        ),
        pytest.param(
            make_pool(deviceClass="a100"),
            [make_node()],
            ("True", reasons.POOL_READY),
            [],
            id="of the class it says",
        ),
        pytest.param(
            make_pool(deviceClass="a100"),
            [make_node("a"), make_node("h", product=H100)],
            ("False", reasons.WRONG_DEVICE_CLASS),
            ["h", H100, "a100"],
            id="a node of another class",
        ),
        pytest.param(
            make_pool(deviceClass="a100"),
            [make_node(product="Unheard-Of")],
            ("True", reasons.POOL_READY),
            [],
            id="a product that nobody described may be right",
        ),
        pytest.param(
            make_pool(deviceClass="x9"),
            [make_node()],
            ("False", reasons.UNKNOWN_DEVICE_CLASS),
            ["x9", "h100"],
            id="unknown",
        ),
    ],
)
def test_condition(pool, nodes, condition, words) -> None:
    found = decide(pool, make_snapshot(nodes))
    [ready] = [one for one in found["conditions"] if one["type"] == "Ready"]
    assert (ready["status"], ready["reason"]) == condition
    assert [word for word in words if word not in ready["message"]] == []


def test_aggregates_count_ready_nodes_only() -> None:
    nodes = [
        make_node("a", {GPU: 8, "nvidia.com/mig-1g.5gb": 7}),
        make_node("b", {GPU: 8, "rdma/hca": 0}),
        make_node("c", ready=False),
        make_node("d", unschedulable=True),
        make_node("e", pool="other"),
    ]
    found = decide(make_pool(), make_snapshot(nodes))
    assert (found["nodes"], found["readyNodes"]) == (4, 3)
    assert found["resources"] == [
        {"name": GPU, "allocatable": 24},
        {"name": "nvidia.com/mig-1g.5gb", "allocatable": 7},
    ]


def test_an_event_tells_the_change_once() -> None:
    pool = make_pool()
    first = pools.decide(pool, make_snapshot(), NOW)
    assert [event.reason for event in first.events] == [reasons.NO_MATCHING_NODES]
    told = builders.make_pool(status=first.status)
    assert pools.decide(told, make_snapshot(), NOW).events == ()
