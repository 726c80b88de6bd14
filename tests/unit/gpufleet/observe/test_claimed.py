"""Nodes whose slices a DRA driver makes, from its ResourceSlices."""

from __future__ import annotations

from typing import Any

import pytest

from gpufleet.observe import claimed
from tests.builders import make_node

MADE = [{"counterSet": "gpu-0", "counters": {"memory-slice-0": {"value": "1"}}}]


def make_device(profile: str = "1g.10gb", **fields: Any) -> dict[str, Any]:
    attributes = {"type": {"string": "mig"}, "profile": {"string": profile}}
    return {"name": "d", "attributes": attributes, "consumesCounters": MADE, **fields}


def make_slice(name: str, *devices: Any, node: str = "a", driver: str = "gpu.nvidia.com") -> dict[str, Any]:
    metadata = {"name": name, "uid": f"uid-{name}", "resourceVersion": "1"}
    return {"metadata": metadata, "spec": {"driver": driver, "nodeName": node, "devices": list(devices)}}


@pytest.mark.parametrize(
    ("slices", "claimable"),
    [
        pytest.param([], {}, id="none"),
        pytest.param([make_slice("s", make_device())], {"a": {"1g.10gb"}}, id="a slice that is made"),
        pytest.param(
            [make_slice("s", make_device()), make_slice("t", make_device("3g.40gb"))],
            {"a": {"1g.10gb", "3g.40gb"}},
            id="in two of them",
        ),
        pytest.param([make_slice("s", make_device(consumesCounters=[]))], {}, id="a slice that is there"),
        pytest.param([make_slice("s", make_device(attributes={}))], {}, id="a whole GPU"),
        pytest.param([make_slice("s", make_device(), driver="x")], {}, id="of another driver"),
        pytest.param([make_slice("s", make_device(), node="gone")], {}, id="of no node"),
        pytest.param(
            [make_slice("s", "?"), make_slice("t", make_device())], {"a": {"1g.10gb"}}, id="nonsense"
        ),
    ],
)
def test_what_nodes_offer_to_claims(slices: list[dict[str, Any]], claimable: dict[str, set[str]]) -> None:
    found = claimed.Claimed(None, lambda: None)  # type: ignore[arg-type]
    for one in slices:
        found.held.put(one)
    nodes = (make_node("a"), make_node("b"))
    joined = found.join(nodes)
    assert {node.name: node.claimable for node in joined if node.claimable} == claimable
    assert slices or joined is nodes
