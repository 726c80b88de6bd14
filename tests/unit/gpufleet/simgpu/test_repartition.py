from __future__ import annotations

import pytest

from gpufleet.simgpu import device, inventory, migconfig, repartition
from tests.unit.gpufleet.simgpu import builders

CONFIG = """
version: v1
mig-configs:
  halves: [{devices: all, mig-enabled: true, mig-devices: {3g.40gb: 2}}]
  per-gpu:
  - {devices: [0], mig-enabled: true, mig-devices: {1g.10gb: 2, 2g.20gb: 1, 3g.40gb: 1}}
  - {devices: [1], mig-enabled: false}
  older-spelling: [{devices: all, mig-enabled: true, mig-devices: {3g.39gb: 1}}]
  sxm-only: [{devices: all, device-filter: ["0x233010DE"], mig-enabled: true, mig-devices: {7g.80gb: 1}}]
  pcie-only: [{devices: all, device-filter: "0x233110DE:1234", mig-enabled: true, mig-devices: {7g.80gb: 1}}]
  other-model: [{devices: all, mig-enabled: true, mig-devices: {1g.5gb: 1}}]
  third-gpu: [{devices: [2], mig-enabled: false}]
  too-much: [{devices: all, mig-enabled: true, mig-devices: {4g.40gb: 1, 3g.40gb: 2}}]
"""
CONFIGS = migconfig.parse(CONFIG)


def change(stock: inventory.Inventory, name: str) -> None:
    repartition.apply(stock.gpus, migconfig.plan_wanted(CONFIGS[name], stock.gpus))


def counts(stock: inventory.Inventory) -> list[dict[str, int] | None]:
    return [gpu.layout.counts if gpu.mig_enabled else None for gpu in stock.gpus]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("halves", [{"3g.40gb": 2}, {"3g.40gb": 2}], id="all GPUs"),
        pytest.param("per-gpu", [{"1g.10gb": 2, "2g.20gb": 1, "3g.40gb": 1}, None], id="by index"),
        pytest.param("older-spelling", [{"3g.40gb": 1}, {"3g.40gb": 1}], id="another driver's name"),
        pytest.param("sxm-only", [{"7g.80gb": 1}, {"7g.80gb": 1}], id="filter lets through"),
        pytest.param("pcie-only", [None, {"1g.20gb": 1}], id="filter leaves alone"),
    ],
)
def test_gpus_become_what_is_asked(name: str, expected: list[dict[str, int] | None]) -> None:
    stock = builders.stock_of(None, ("1g.20gb",))
    change(stock, name)
    assert counts(stock) == expected


def test_gpus_that_match_are_left_alone_even_when_busy() -> None:
    stock = builders.stock_of(("3g.40gb", "3g.40gb"), None)
    before = builders.uuids(stock)
    stock.set_busy(before)
    change(stock, "halves")
    assert builders.uuids(stock)[:2] == before
    assert counts(stock) == [{"3g.40gb": 2}, {"3g.40gb": 2}]


def test_a_busy_instance_fails_the_change_after_idle_siblings_have_gone() -> None:
    stock = builders.stock_of(("2g.20gb", "2g.20gb", "1g.10gb"))
    stock.set_busy([stock.gpus[0].instances[1].uuid])
    with pytest.raises(device.DeviceError, match=device.IN_USE):
        change(stock, "halves")
    assert counts(stock) == [{"1g.10gb": 1, "2g.20gb": 1}]


def test_on_ampere_a_change_of_mode_resets_every_gpu_of_the_node() -> None:
    stock = builders.stock_of(("3g.20gb",), None, product=builders.A100)
    wanted = {1: migconfig.Wanted(True, {"7g.40gb": 1})}
    stock.set_busy(builders.uuids(stock))
    with pytest.raises(device.DeviceError, match="GPU 0: reset while a pod holds"):
        repartition.apply(stock.gpus, wanted)
    stock.set_busy(())
    repartition.apply(stock.gpus, wanted)
    assert counts(stock) == [{}, {"7g.40gb": 1}]


def test_on_hopper_a_change_of_mode_leaves_the_others() -> None:
    stock = builders.stock_of(("3g.40gb",), None)
    stock.set_busy(builders.uuids(stock))
    repartition.apply(stock.gpus, {1: migconfig.Wanted(True, {"7g.80gb": 1})})
    assert counts(stock) == [{"3g.40gb": 1}, {"7g.80gb": 1}]


def test_counts_that_cannot_be_placed_leave_the_gpu_empty() -> None:
    stock = builders.stock_of(("1g.10gb",))
    with pytest.raises(device.DeviceError, match=device.INSUFFICIENT_RESOURCES):
        change(stock, "too-much")
    assert counts(stock) == [{}]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param("other-model", r"GPU 0: H100-80GB-SXM has no MIG profile 1g\.5gb", id="profile"),
        pytest.param("third-gpu", "names GPU 2; the node has 2", id="index"),
    ],
)
def test_what_the_node_lacks_is_refused_before_anything_changes(name: str, reason: str) -> None:
    stock = builders.stock_of(("3g.40gb",), None)
    with pytest.raises(migconfig.ConfigError, match=reason):
        change(stock, name)
    assert counts(stock) == [{"3g.40gb": 1}, None]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{", id="no YAML"),
        pytest.param("[]", id="no mapping"),
        pytest.param("version: v2\nmig-configs: {}", id="version"),
        pytest.param("version: v1\nmig-configs: {a: [{devices: all}]}", id="mode missing"),
        pytest.param(
            "version: v1\nmig-configs: {a: [{devices: all, mig-enabled: true}]}", id="layout missing"
        ),
        pytest.param(
            "version: v1\nmig-configs: {a: [{devices: all, mig-enabled: false, mig-devices: {1g.10gb: 1}}]}",
            id="layout of a whole GPU",
        ),
        pytest.param(
            "version: v1\nmig-configs: {a: [{devices: all, mig-enabled: false, placement: 3}]}",
            id="unknown field",
        ),
        pytest.param(
            "version: v1\nmig-configs: {a: [{devices: some, mig-enabled: false}]}",
            id="neither all nor indices",
        ),
        pytest.param(
            "version: v1\nmig-configs: {a: [{devices: all, mig-enabled: true, mig-devices: {1g.10gb: -1}}]}",
            id="negative count",
        ),
    ],
)
def test_a_file_outside_the_schema_is_refused(text: str) -> None:
    with pytest.raises(migconfig.ConfigError):
        migconfig.parse(text)


@pytest.mark.parametrize(
    ("product", "name", "expected"),
    [
        (builders.H100, "all-balanced", {"1g.10gb": 2, "2g.20gb": 1, "3g.40gb": 1}),
        (builders.H100, "all-1g.10gb", {"1g.10gb": 7}),
        (builders.H100, "all-1g.10gb.me", {"1g.10gb+me": 1}),
        (builders.H100, "all-enabled", {}),
        (builders.H100, "all-disabled", None),
        ("NVIDIA-A30", "all-balanced", {"1g.6gb": 2, "2g.12gb": 1}),
    ],
)
def test_the_built_in_configurations_apply(product: str, name: str, expected: dict[str, int] | None) -> None:
    stock = builders.stock_of(None, product=product)
    entries = migconfig.build_defaults([stock.gpus[0].model])[name]
    repartition.apply(stock.gpus, migconfig.plan_wanted(entries, stock.gpus))
    assert counts(stock) == [expected]


def test_every_built_in_configuration_fits_its_model() -> None:
    for product in (
        builders.H100,
        builders.A100,
        "NVIDIA-A30",
        "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition",
    ):
        stock = builders.stock_of(None, product=product)
        for entries in migconfig.build_defaults([stock.gpus[0].model]).values():
            wanted = migconfig.plan_wanted(entries, stock.gpus)
            repartition.apply(stock.gpus, wanted)
            assert repartition.is_applied(stock.gpus, wanted)
