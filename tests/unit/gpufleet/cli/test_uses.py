from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from gpufleet.cli import uses
from gpufleet.state import devices, fleet
from tests import builders
from tests.unit.gpufleet.cli import wires

SLICE = "nvidia.com/mig-1g.10gb"
HALF = devices.Instance("i", "3g.40gb", 0)


def gpus(*found: devices.Gpu) -> devices.DeviceMap:
    return devices.DeviceMap("boot", found)


def gpu(index: int = 0, *instances: devices.Instance, pod: str = "") -> devices.Gpu:
    return devices.Gpu(index, f"gpu-{index}", mig=bool(instances), instances=instances, pod=pod)


def held(profile: str, pod: str) -> devices.Instance:
    return devices.Instance("i", profile, 0, f"{pod}/uid")


def read(nodes: Iterable[fleet.Node], pods: Iterable[fleet.Pod] = (), **pool: Any) -> list[uses.NodeUse]:
    return uses.read(wires.read(builders.make_snapshot(nodes, pods, pools=[builders.make_pool(**pool)])))


def pod(name: str, namespace: str, phase: str = "Running", **requests: int) -> fleet.Pod:
    wanted = {{"gpu": builders.GPU, "slice": SLICE}[key]: count for key, count in requests.items()}
    return builders.make_pod(name, namespace=namespace, node="node-a", phase=phase, requests=wanted)


@pytest.mark.parametrize(
    ("node", "pods", "total", "taken", "holders"),
    [
        pytest.param({}, [], 8, 0, {}, id="free"),
        pytest.param({}, [pod("p", "a", gpu=3), pod("q", "b", gpu=1)], 8, 4, {"a": 3, "b": 1}, id="by pods"),
        pytest.param({}, [pod("p", "a", "Failed", gpu=3)], 8, 0, {}, id="what has ended holds nothing"),
        pytest.param(
            {"allocatable": {SLICE: 7}}, [pod("p", "a", slice=2)], 1, 2 / 7, {"a": 2 / 7}, id="slices by pods"
        ),
        pytest.param(
            {"allocatable": {SLICE: 14}}, [pod("p", "a", slice=7)], 2, 1, {"a": 1}, id="of two GPUs"
        ),
        pytest.param(
            {"allocatable": {builders.GPU: 1}}, [pod("p", "a", gpu=2)], 2, 2, {"a": 2}, id="one is lost"
        ),
        pytest.param(
            {"devices": gpus(gpu(0, pod="a/p/uid"), gpu(1))}, [], 2, 1, {"a": 1}, id="by the node agent"
        ),
        pytest.param(
            {"devices": gpus(gpu(0, HALF, held("3g.40gb", "b/p")))}, [], 1, 0.5, {"b": 0.5}, id="a half"
        ),
        pytest.param(
            {"devices": gpus(devices.Gpu(0, "g", mig=True))}, [], 1, 0, {}, id="MIG is on and nothing cut"
        ),
    ],
)  # fmt: skip
def test_what_is_held(
    node: dict[str, Any], pods: list[fleet.Pod], total: float, taken: float, holders: dict[str, float]
) -> None:
    [told] = read([builders.make_node(**{"allocatable": {builders.GPU: 8}, **node})], pods)
    assert (told.total, told.held) == (pytest.approx(total), pytest.approx(taken))
    assert told.holders == pytest.approx(holders)


def test_nodes_without_devices_are_left_out() -> None:
    assert read([builders.make_node(allocatable={"example.com/disk": 4})]) == []


def test_a_rack_is_where_the_pools_topology_says() -> None:
    node = builders.make_node()
    placed = fleet.Node(node.name, labels={**node.labels, "block": "b1"}, allocatable=node.allocatable)
    [told] = read([placed], topology={"levels": ["block", "rack"]})
    assert told.rack == "b1/?"


def test_pools_come_before_what_is_in_none() -> None:
    nodes = [builders.make_node("a", pool=""), builders.make_node("b")]
    assert [(one.pool, one.name) for one in read(nodes)] == [("a100", "b"), ("", "a")]
