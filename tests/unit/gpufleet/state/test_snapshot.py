from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet.state import fleet, snapshot

GPU = "nvidia.com/gpu"


def make_pod(name: str, node: str, gpus: int, **changes: object) -> fleet.Pod:
    return fleet.Pod(uid=name, namespace="ns", name=name, node=node, requests={GPU: gpus}, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("node", "pods", "free"),
    [
        pytest.param({}, [], 8, id="empty node"),
        pytest.param({}, [("a", {"phase": "Running"})], 5, id="a running pod holds"),
        pytest.param({}, [("a", {})], 5, id="a bound pod holds before it runs"),
        pytest.param(
            {}, [("a", {"phase": "Running", "deleting": True})], 5, id="a terminating pod still holds"
        ),
        pytest.param({}, [("a", {"phase": "Succeeded"})], 8, id="a finished pod holds nothing"),
        pytest.param({"ready": False}, [], 0, id="a node that is not ready has nothing free"),
        pytest.param({"unschedulable": True}, [], 0, id="a cordoned node has nothing free"),
    ],
)
def test_free_on_one_node(node, pods, free) -> None:
    made = fleet.Node("n1", allocatable={GPU: 8}, **node)
    view = snapshot.Snapshot(nodes=(made,), pods=tuple(make_pod(n, "n1", 3, **c) for n, c in pods))
    assert view.free_on(made, view.used_on_nodes())[GPU] == free


def test_pods_of_unknown_nodes_count_nowhere() -> None:
    view = snapshot.Snapshot(pods=(make_pod("a", "gone", 1), make_pod("b", "", 1)))
    assert view.used_on_nodes() == {}


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["Pending", "Running", "Failed"])), max_size=12))
def test_free_and_used_add_up_to_allocatable(pods: list[tuple[int, str]]) -> None:
    node = fleet.Node("n1", allocatable={GPU: 48})
    made = tuple(make_pod(f"p{i}", "n1", gpus, phase=phase) for i, (gpus, phase) in enumerate(pods))
    view = snapshot.Snapshot(nodes=(node,), pods=made)
    used = view.used_on_nodes()
    assert view.free_on(node, used)[GPU] + used["n1"][GPU] == 48
