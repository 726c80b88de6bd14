"""What is read of Nodes."""

from __future__ import annotations

from typing import Any

import pytest

from gpufleet.observe import decode_nodes
from gpufleet.state import fleet
from tests.unit.gpufleet.observe import fakes


def test_a_whole_node() -> None:
    raw = fakes.build_raw(
        "n1",
        labels={"pool": "a"},
        spec={"unschedulable": True},
        status={
            "allocatable": {"cpu": "8", "nvidia.com/gpu": "8", "hugepages-2Mi": "0"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    )
    assert decode_nodes.decode_node(raw) == fleet.Node(
        "n1", {"pool": "a"}, {"nvidia.com/gpu": 8}, True, True, uid="uid-n1"
    )


@pytest.mark.parametrize(
    "conditions",
    [
        pytest.param(None, id="none yet"),
        pytest.param([{"type": "Ready", "status": "Unknown"}], id="unknown"),
        pytest.param([{"type": "MemoryPressure", "status": "True"}], id="another"),
    ],
)
def test_a_node_is_ready_only_when_it_says_so(conditions: Any) -> None:
    node = decode_nodes.decode_node(fakes.build_raw("n1", status={"conditions": conditions}))
    assert node is not None
    assert not node.ready
