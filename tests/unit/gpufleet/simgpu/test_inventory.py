from __future__ import annotations

import collections
import json
import pathlib

import hypothesis
import pytest
from hypothesis import strategies

from gpufleet.decide.mig import catalogue, geometry
from gpufleet.simgpu import inventory, labels, store
from tests.unit.gpufleet.simgpu import builders

H100_MODEL = catalogue.model_of_product(builders.H100)
assert H100_MODEL is not None
LAYOUTS = [
    tuple(p.profile for p in geometry.creation_order(H100_MODEL, [p.profile for p in layout.placements]))
    for layout in geometry.enumerate_layouts(H100_MODEL)
]


def counts(stock: inventory.Inventory) -> dict[str, int]:
    return {resource: len(found) for resource, found in stock.advertise().items()}


@pytest.mark.parametrize(
    ("stock", "expected"),
    [
        pytest.param(builders.stock_of(None, None), {"nvidia.com/gpu": 2}, id="MIG off"),
        pytest.param(
            builders.stock_of((), None), {"nvidia.com/gpu": 1}, id="an empty MIG GPU offers nothing"
        ),
        pytest.param(
            builders.stock_of(("3g.40gb", "1g.10gb+me"), ("3g.40gb",), None),
            {"nvidia.com/gpu": 1, "nvidia.com/mig-3g.40gb": 2, "nvidia.com/mig-1g.10gb.me": 1},
            id="mixed",
        ),
        pytest.param(
            builders.stock_of(("3g.40gb", "3g.40gb"), ("3g.40gb",), strategy="single"),
            {"nvidia.com/gpu": 3},
            id="single",
        ),
        pytest.param(
            builders.stock_of(("3g.40gb",), ("2g.20gb",), strategy="single"), {}, id="single, profiles differ"
        ),
        pytest.param(
            builders.stock_of(("3g.40gb",), None, strategy="single"), {}, id="single, one GPU whole"
        ),
        pytest.param(builders.stock_of(None, strategy="single"), {"nvidia.com/gpu": 1}, id="single, MIG off"),
    ],
)
def test_devices_per_resource(stock: inventory.Inventory, expected: dict[str, int]) -> None:
    assert counts(stock) == expected


def test_a_resource_whose_instances_vanish_stays_with_none() -> None:
    stock = builders.stock_of(("3g.40gb",))
    stock.advertise()
    stock.gpus[0].clear()
    assert counts(stock) == {"nvidia.com/mig-3g.40gb": 0}


@hypothesis.settings(deadline=None, max_examples=50)
@hypothesis.given(strategies.lists(strategies.sampled_from(LAYOUTS), min_size=1, max_size=3))
def test_what_is_advertised_and_labelled_is_the_geometry(layouts: list[tuple[str, ...]]) -> None:
    stock = builders.stock_of(*layouts)
    wanted = collections.Counter(catalogue.resource_name(name) for layout in layouts for name in layout)
    assert counts(stock) == wanted
    found = labels.build_labels(stock)
    assert {key: int(found[f"{key}.count"]) for key in wanted} == wanted


def test_faulty_gpus_are_advertised_unhealthy() -> None:
    stock = builders.stock_of(None, None)
    stock.unhealthy = frozenset({1})
    assert [device.healthy for device in stock.advertise()["nvidia.com/gpu"]] == [True, False]


def test_uuids_of_gpus_follow_from_the_node() -> None:
    once, again = (inventory.build_gpus("node-a", builders.H100, 2) for _ in range(2))
    other = inventory.build_gpus("node-b", builders.H100, 2)
    assert [gpu.uuid for gpu in once] == [gpu.uuid for gpu in again]
    assert not {gpu.uuid for gpu in once} & {gpu.uuid for gpu in other}


@pytest.mark.parametrize("product", ["NVIDIA-X9000", "AMD_Instinct_MI300X_OAM"])
def test_other_products_are_refused_with_the_known_ones(product: str) -> None:
    with pytest.raises(inventory.UnknownProductError, match=r"known are .*NVIDIA-H100-80GB-HBM3"):
        inventory.build_gpus("node-a", product, 1)


def test_a_device_is_located_by_its_uuid() -> None:
    stock = builders.stock_of(("3g.40gb",), None)
    instance = stock.gpus[0].instances[0]
    assert stock.locate(instance.uuid) == inventory.Located(stock.gpus[0], instance)
    assert stock.locate(stock.gpus[1].uuid) == inventory.Located(stock.gpus[1], None)
    assert stock.locate("MIG-gone") is None


def saved(path: pathlib.Path, product: str, *layouts: tuple[str, ...] | None) -> inventory.Inventory:
    stock = builders.stock_of(*layouts, product=product)
    stock.advertise()
    store.save(path, stock, boot_id="boot-1")
    return stock


def restored(path: pathlib.Path, product: str, count: int, boot_id: str) -> inventory.Inventory:
    stock = inventory.Inventory(inventory.build_gpus("node-a", product, count))
    store.restore(path, stock, boot_id)
    return stock


def test_a_restart_keeps_geometry_uuids_and_resources(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "state" / "gpus.json"
    before = saved(path, builders.H100, ("3g.40gb", "1g.10gb"), None)
    before.gpus[0].destroy_instance(before.gpus[0].instances[1].uuid)
    before.advertise()
    store.save(path, before, boot_id="boot-1")
    after = restored(path, builders.H100, 2, boot_id="boot-1")
    assert [gpu.instances for gpu in after.gpus] == [gpu.instances for gpu in before.gpus]
    assert counts(after) == {"nvidia.com/gpu": 1, "nvidia.com/mig-3g.40gb": 1, "nvidia.com/mig-1g.10gb": 0}


@pytest.mark.parametrize(
    ("product", "layout", "keeps_mode"),
    [
        pytest.param(builders.A100, ("3g.20gb",), True, id="Ampere keeps the mode"),
        pytest.param(builders.H100, ("3g.40gb",), False, id="Hopper does not"),
    ],
)
def test_a_reboot_loses_instances(
    tmp_path: pathlib.Path, product: str, layout: tuple[str, ...], keeps_mode: bool
) -> None:
    saved(tmp_path / "gpus.json", product, layout)
    after = restored(tmp_path / "gpus.json", product, 1, boot_id="boot-2")
    assert (after.gpus[0].instances, after.gpus[0].mig_enabled) == ([], keeps_mode)


def test_other_gpus_start_anew(tmp_path: pathlib.Path) -> None:
    saved(tmp_path / "gpus.json", builders.H100, ("3g.40gb",))
    assert restored(tmp_path / "gpus.json", builders.A100, 1, boot_id="boot-1").gpus[0].instances == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"gpus": []}'])
def test_a_broken_file_is_no_obstacle(tmp_path: pathlib.Path, text: str) -> None:
    path = tmp_path / "gpus.json"
    path.write_text(text)
    assert restored(path, builders.H100, 1, boot_id="boot-1").gpus[0].mig_enabled is False


def test_a_saved_layout_that_cannot_be_is_left_out(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "gpus.json"
    saved(path, builders.H100, ("3g.40gb",))
    state = json.loads(path.read_text())
    state["gpus"][0]["instances"][0]["start"] = 3
    path.write_text(json.dumps(state))
    assert restored(path, builders.H100, 1, boot_id="boot-1").gpus[0].instances == []
