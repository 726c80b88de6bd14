"""Slices and devices that the fleet has, or would cut, and what a GPU of them costs."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gpufleet.api import accelerator
from gpufleet.decide.mig import catalogue
from gpufleet.decide.placement.slices import offers
from gpufleet.state import fleet
from tests import builders

SMALL, LARGE = "nvidia.com/mig-1g.10gb", "nvidia.com/mig-3g.40gb"
H100, A100_80 = builders.H100, "NVIDIA-A100-SXM4-80GB"


def make_node(name: str, product: str = H100, pool: str = "h100", **slices: int) -> fleet.Node:
    resources = {{"small": SMALL, "large": LARGE, "whole": builders.GPU}[key]: n for key, n in slices.items()}
    return builders.make_node(name, resources, product=product, pool=pool)


def make_pool(name: str = "h100", **spec: Any) -> Any:
    return builders.make_pool(name, **{"nodeSelector": {"gpufleet.dev/pool": name}, **spec})


def find(
    *nodes: fleet.Node, pools: Any = (), pods: Any = (), memory: str = "8Gi", **block: Any
) -> dict[tuple[str, tuple[str, ...]], offers.Offer]:
    view = builders.make_snapshot(nodes, pods, pools=pools)
    asked = accelerator.Accelerator.model_validate({"memory": memory, **block})
    found = offers.Inventory(view).find(asked)
    return {(one.name, tuple(one.accelerator.products)): one for one in found}


def test_each_product_alone_and_all_that_have_it() -> None:
    found = find(make_node("a", small=7), make_node("b", A100_80, small=7, large=1))
    both = tuple(sorted((H100, A100_80)))
    assert found.keys() == {
        ("1g.10gb", (H100,)), ("1g.10gb", (A100_80,)), ("1g.10gb", both), ("3g.40gb", (A100_80,))
    }  # fmt: skip
    assert found["1g.10gb", both].free == 14


@pytest.mark.parametrize(
    ("memory", "block", "names"),
    [
        pytest.param("8Gi", {}, {"1g.10gb", "3g.40gb", builders.GPU}, id="all are large enough"),
        pytest.param("16Gi", {}, {"3g.40gb", builders.GPU}, id="the smallest is too small"),
        pytest.param("70Gi", {}, {builders.GPU}, id="a whole device"),
        pytest.param("200Gi", {}, set(), id="none"),
        pytest.param("8Gi", {"class": "a100"}, set(), id="of another class"),
        pytest.param("8Gi", {"class": "h100"}, {"1g.10gb", "3g.40gb", builders.GPU}, id="of its class"),
    ],
)
def test_what_answers_a_block(memory: str, block: dict[str, Any], names: set[str]) -> None:
    found = find(make_node("a", small=1, large=1, whole=7), memory=memory, **block)
    assert {name for name, _ in found} == names


@pytest.mark.parametrize(
    ("policy", "names"),
    [
        pytest.param({}, set(), id="nobody cuts"),
        pytest.param({"mode": "Dynamic"}, set(), id="cutting is only told"),
        pytest.param(
            {"mode": "Dynamic", "act": "Active", "allowedProfiles": ["2g.20gb"]}, {"2g.20gb"}, id="one"
        ),
        pytest.param(
            {"mode": "Dynamic", "act": "Active"},
            {"1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"},
            id="all of the device, without media extensions",
        ),
    ],
)
def test_what_would_be_cut_is_offered_and_not_free(policy: dict[str, Any], names: set[str]) -> None:
    found = find(make_node("a", whole=8), pools=[make_pool(mig=policy)])
    slices = {name: one for (name, _), one in found.items() if name != builders.GPU}
    assert slices.keys() == names
    assert all(one.free == 0 for one in slices.values())


def test_a_slice_that_is_there_and_would_be_cut_counts_once() -> None:
    policy = {"mode": "Dynamic", "act": "Active", "allowedProfiles": ["1g.10gb"]}
    [found] = find(make_node("a", small=2), pools=[make_pool(mig=policy)]).values()
    assert found.free == 2


def test_nothing_is_cut_where_a_driver_makes_slices_for_claims() -> None:
    node = dataclasses.replace(make_node("a", whole=8), claimable=frozenset({"1g.10gb"}))
    found = find(node, pools=[make_pool(mig={"mode": "Dynamic", "act": "Active"})])
    assert {name for name, _ in found} == {builders.GPU}


@pytest.mark.parametrize(
    ("resource", "share"),
    [
        pytest.param(SMALL, 1 / 7, id="a seventh"),
        pytest.param("nvidia.com/mig-1g.20gb", 1 / 4, id="memory of two"),
        pytest.param("nvidia.com/mig-2g.20gb", 2 / 7, id="two sevenths"),
        pytest.param(LARGE, 1 / 2, id="half of the memory"),
        pytest.param("nvidia.com/mig-4g.40gb", 4 / 7, id="four sevenths"),
        pytest.param("nvidia.com/mig-7g.80gb", 1.0, id="all"),
        pytest.param(builders.GPU, 1.0, id="the device"),
        pytest.param("nvidia.com/mig-1g.10gb.me", None, id="a media extension"),
        pytest.param("nvidia.com/mig-1g.5gb", None, id="a slice of another device"),
    ],
)
def test_the_share_of_a_gpu(resource: str, share: float | None) -> None:
    model = catalogue.model_of_product(H100)
    assert model is not None
    found = offers.measure(model, resource)
    assert (found and found.share) == (share if share is None else pytest.approx(share))


def test_the_price_is_that_of_the_pool_with_most() -> None:
    pools = [make_pool("h100", pricePerGPUHour=2.5), make_pool("spot", pricePerGPUHour=1.0)]
    nodes = [make_node("a", small=7), make_node("b", pool="spot", small=3)]
    [found] = find(*nodes, pools=pools).values()
    assert (found.price, found.accelerator.pool, found.free) == (2.5, "h100", 10)


def test_what_pods_hold_or_a_move_takes_is_not_free() -> None:
    pods = [builders.make_pod("p", node="a", requests={SMALL: 2})]
    view = builders.make_snapshot([make_node("a", small=7), make_node("b", A100_80, small=1)], pods)
    inventory = offers.Inventory(view)
    block = accelerator.Accelerator(memory="8Gi")
    both = max(inventory.find(block), key=lambda one: one.free)
    assert both.free == 6
    inventory.take(both.accelerator, 2)
    assert [one.free for one in inventory.find(block)].count(4) >= 1
    assert max(one.free for one in inventory.find(block)) == 4


def test_an_accelerator_whose_nodes_are_gone_is_unknown() -> None:
    inventory = offers.Inventory(builders.make_snapshot([make_node("a", small=7)]))
    assigned = accelerator.AssignedAccelerator(resource=SMALL, count=1, products=[H100], pool="h100")
    found = inventory.build(assigned)
    assert found is not None
    assert found.accelerator is assigned
    assert inventory.build(assigned.model_copy(update={"products": [A100_80]})) is None
    assert inventory.build(assigned.model_copy(update={"products": []})) is None
