from __future__ import annotations

from typing import Any

import pytest

from gpufleet.api import accelerator as accelerators
from gpufleet.api import reasons
from gpufleet.decide.mig import catalogue
from gpufleet.decide.placement import accelerators as resolving
from gpufleet.state import snapshot
from tests import builders
from tests.builders import A100, GPU, H100, make_node, make_pool, make_snapshot

SMALL = "nvidia.com/mig-1g.5gb"
HALF = "nvidia.com/mig-3g.20gb"
FLEET = make_snapshot(
    nodes=[
        make_node("a", {GPU: 8}),
        make_node("b", {GPU: 4, SMALL: 7, HALF: 2}),
        make_node("h", {GPU: 8}, product=H100, pool="h100"),
    ],
    pools=[make_pool("a100"), make_pool("h100", nodeSelector={"gpufleet.dev/pool": "h100"})],
)
PLAIN = make_snapshot(nodes=[make_node("p", {GPU: 2}, product="", pool="")])


def block(**fields: Any) -> accelerators.Accelerator:
    return accelerators.Accelerator.model_validate(fields)


@pytest.mark.parametrize(
    ("asked", "fleet", "resource", "count", "pool"),
    [
        pytest.param({}, FLEET, GPU, 1, "a100", id="any device"),
        pytest.param({}, PLAIN, GPU, 1, None, id="nodes of no pool and no known product"),
        pytest.param({"count": 8}, FLEET, GPU, 8, "a100", id="count"),
        pytest.param({"class": "h100", "count": 8}, FLEET, GPU, 8, "h100", id="count of a class"),
        pytest.param({"migProfile": "1g.5gb"}, FLEET, SMALL, 1, "a100", id="slice"),
        pytest.param(
            {"class": "a100", "migProfile": "3g.20gb"}, FLEET, HALF, 1, "a100", id="slice of a class"
        ),
        pytest.param({"memory": "4Gi"}, FLEET, SMALL, 1, "a100", id="memory: the smallest slice"),
        pytest.param({"memory": "16Gi"}, FLEET, HALF, 1, "a100", id="memory: a larger slice"),
        pytest.param({"memory": "30Gi"}, FLEET, GPU, 1, "a100", id="memory: a device"),
        pytest.param({"memory": "60Gi"}, FLEET, GPU, 1, "h100", id="memory: a larger device"),
        pytest.param({"class": "h100", "memory": "4Gi"}, FLEET, GPU, 1, "h100", id="memory of a class"),
    ],
)
def test_resolve(
    asked: dict[str, Any], fleet: snapshot.Snapshot, resource: str, count: int, pool: str | None
) -> None:
    found = resolving.resolve(block(**asked), fleet)
    assert isinstance(found, accelerators.AssignedAccelerator)
    assert (found.resource, found.count, found.pool) == (resource, count, pool)


@pytest.mark.parametrize(
    ("asked", "products"),
    [
        pytest.param({"count": 1}, set(), id="any product"),
        pytest.param({"memory": "60Gi"}, {H100}, id="only what is large enough"),
        pytest.param({"memory": "30Gi"}, {A100, H100}, id="all that are large enough"),
    ],
)
def test_products(asked: dict[str, Any], products: set[str]) -> None:
    found = resolving.resolve(block(**asked), FLEET)
    assert isinstance(found, accelerators.AssignedAccelerator)
    assert set(found.products) == products


@pytest.mark.parametrize(
    ("asked", "fleet", "reason", "words"),
    [
        pytest.param(
            {"class": "x9"}, FLEET, reasons.UNKNOWN_DEVICE_CLASS, ["x9", "a100"], id="unknown class"
        ),
        pytest.param(
            {"class": "l40s", "migProfile": "1g.5gb"},
            FLEET,
            reasons.MIG_NOT_SUPPORTED,
            ["l40s", "count or memory"],
            id="MIG of a class without it",
        ),
        pytest.param(
            {"class": "mi300x", "migProfile": "1g.5gb"},
            FLEET,
            reasons.MIG_NOT_SUPPORTED,
            ["mi300x", "count or memory"],
            id="MIG of another vendor",
        ),
        pytest.param(
            {"class": "h100", "migProfile": "1g.5gb"},
            FLEET,
            reasons.NO_MATCHING_ACCELERATOR,
            ["h100", "1g.5gb", "1g.10gb"],
            id="a profile of another class",
        ),
        pytest.param(
            {"count": 16},
            FLEET,
            reasons.NO_MATCHING_ACCELERATOR,
            ["16 × nvidia.com/gpu", SMALL],
            id="more than a node",
        ),
        pytest.param(
            {"migProfile": "7g.40gb"},
            FLEET,
            reasons.NO_MATCHING_ACCELERATOR,
            ["7g.40gb", HALF],
            id="a slice nobody cut",
        ),
        pytest.param(
            {"memory": "200Gi"},
            FLEET,
            reasons.NO_MATCHING_ACCELERATOR,
            ["200Gi", "MiB", "ask for less"],
            id="memory",
        ),
        pytest.param(
            {"memory": "1Gi"}, PLAIN, reasons.NO_MATCHING_ACCELERATOR, ["nothing"], id="memory unknown"
        ),
        pytest.param(
            {},
            make_snapshot(),
            reasons.NO_MATCHING_ACCELERATOR,
            ["no accelerators at all"],
            id="an empty fleet",
        ),
        pytest.param(
            {"class": "h100"},
            make_snapshot(nodes=[make_node("a")]),
            reasons.NO_MATCHING_ACCELERATOR,
            [H100, "the fleet has nvidia.com/gpu"],
            id="a class nobody has",
        ),
    ],
)
def test_refusals_say_what_there_is(asked, fleet, reason, words) -> None:
    found = resolving.resolve(block(**asked), fleet)
    assert isinstance(found, resolving.Refusal)
    assert found.reason == reason
    assert [word for word in words if word not in found.message] == []


def test_memory_may_be_kept_from_slices() -> None:
    found = resolving.resolve(block(memory="4Gi"), FLEET, whole_devices=True)
    assert isinstance(found, accelerators.AssignedAccelerator)
    assert found.resource == GPU


def test_where_there_are_only_slices_whole_devices_are_refused() -> None:
    fleet = make_snapshot(nodes=[make_node("b", {SMALL: 7, HALF: 2})])
    found = resolving.resolve(block(memory="4Gi"), fleet, whole_devices=True)
    assert isinstance(found, resolving.Refusal)
    assert found.reason == reasons.NO_MATCHING_ACCELERATOR
    assert [
        word for word in ("4Gi", "MIG slices only", "workers.max to 1") if word not in found.message
    ] == []


@pytest.mark.parametrize(
    ("sizes", "pool"),
    [
        pytest.param({"a": [8], "b": [8, 8]}, "b", id="the larger"),
        pytest.param({"a": [8], "b": [8]}, "a", id="of equals the first by name"),
        pytest.param({"a": [4, 4, 4], "b": [8]}, "b", id="only nodes with room for a whole pod"),
        pytest.param({"": [8]}, None, id="nodes of no pool"),
    ],
)
def test_the_pool_is_the_one_with_most_places(sizes: dict[str, list[int]], pool: str | None) -> None:
    nodes = [
        make_node(f"{name}{index}", {GPU: size}, pool=name)
        for name, listed in sizes.items()
        for index, size in enumerate(listed)
    ]
    pools = [make_pool(name, nodeSelector={"gpufleet.dev/pool": name}) for name in "ab"]
    found = resolving.resolve(block(count=8), make_snapshot(nodes, pools=pools))
    assert isinstance(found, accelerators.AssignedAccelerator)
    assert found.pool == pool


@pytest.mark.parametrize("name", catalogue.class_names())
def test_every_class_resolves_into_what_the_api_takes(name: str) -> None:
    model = catalogue.models_of_class(name)[0]
    product = model.products[0] if model.products else ""
    fleet = make_snapshot(nodes=[make_node("n", {model.resource: 8}, product=product)])
    found = resolving.resolve(block(**{"class": name}), fleet)
    assert isinstance(found, accelerators.AssignedAccelerator)
    assert found.resource == model.resource


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        pytest.param(None, None, True, id="none"),
        pytest.param({}, None, False, id="any is not none"),
        pytest.param({"class": "h100", "count": 1}, {"count": 1, "class": "h100"}, True, id="order"),
        pytest.param({"count": 1}, {"count": 2}, False, id="count"),
        pytest.param({"memory": "1Gi"}, {"migProfile": "1g.5gb"}, False, id="member"),
    ],
)
def test_describe_tells_blocks_apart(one, other, same) -> None:
    blocks = [None if fields is None else block(**fields) for fields in (one, other)]
    assert (resolving.describe(blocks[0]) == resolving.describe(blocks[1])) is same


def test_builders_agree_with_the_catalogue() -> None:
    assert {catalogue.model_of_product(one) is not None for one in (builders.A100, builders.H100)} == {True}
