from __future__ import annotations

import pytest

from gpufleet.simgpu import inventory, labels
from tests.unit.gpufleet.simgpu import builders


@pytest.mark.parametrize(
    ("stock", "expected"),
    [
        pytest.param(
            builders.stock_of(None, None),
            {
                "nvidia.com/gpu.product": builders.H100,
                "nvidia.com/gpu.count": "2",
                "nvidia.com/gpu.memory": "81559",
                "nvidia.com/gpu.replicas": "1",
                "nvidia.com/mig.capable": "true",
                "nvidia.com/mig.strategy": "mixed",
            },
            id="whole GPUs",
        ),
        pytest.param(
            builders.stock_of(("3g.40gb", "1g.10gb+me")),
            {
                "nvidia.com/gpu.product": builders.H100,
                "nvidia.com/gpu.replicas": "0",
                "nvidia.com/mig-3g.40gb.count": "1",
                "nvidia.com/mig-3g.40gb.memory": "40320",
                "nvidia.com/mig-3g.40gb.multiprocessors": "60",
                "nvidia.com/mig-3g.40gb.product": "NVIDIA-H100-80GB-HBM3-MIG-3g.40gb",
                "nvidia.com/mig-3g.40gb.slices.gi": "3",
                "nvidia.com/mig-3g.40gb.slices.ci": "3",
                "nvidia.com/mig-1g.10gb.me.count": "1",
                "nvidia.com/mig-1g.10gb.me.product": "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb.me",
            },
            id="mixed",
        ),
        pytest.param(
            builders.stock_of(("1g.10gb",) * 7, strategy="single"),
            {
                "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb",
                "nvidia.com/gpu.count": "7",
                "nvidia.com/gpu.memory": "9984",
                "nvidia.com/mig.strategy": "single",
            },
            id="single",
        ),
        pytest.param(
            builders.stock_of(("1g.10gb",), (), strategy="single"),
            {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3-MIG-INVALID", "nvidia.com/gpu.count": "0"},
            id="single with an empty GPU",
        ),
        pytest.param(
            builders.stock_of(None, product=builders.L40S),
            {"nvidia.com/mig.capable": "false", "nvidia.com/gpu.product": "NVIDIA-L40S"},
            id="no MIG",
        ),
        pytest.param(builders.stock_of(), {}, id="no GPUs"),
    ],
)
def test_labels_are_gpu_feature_discoverys(stock: inventory.Inventory, expected: dict[str, str]) -> None:
    found = labels.build_labels(stock)
    assert {key: found.get(key) for key in expected} == expected
    assert bool(found) == bool(expected)
    assert all(len(value) <= 63 and "+" not in value for value in found.values())


def test_a_patch_holds_what_differs_and_takes_away_what_is_stale() -> None:
    current = {
        "nvidia.com/gpu.count": "2",
        "nvidia.com/mig-1g.10gb.count": "7",
        "nvidia.com/mig.config": "all-disabled",
        "nvidia.com/mig.config.state": "success",
        "nvidia.com/gpu.deploy.device-plugin": "true",
        "kubernetes.io/hostname": "node-a",
    }
    wanted = {"nvidia.com/gpu.count": "2", "nvidia.com/gpu.product": builders.H100}
    assert labels.plan_patch(current, wanted) == {
        "nvidia.com/gpu.product": builders.H100,
        "nvidia.com/mig-1g.10gb.count": None,
    }


def test_nothing_to_patch_where_all_is_as_wanted() -> None:
    found = labels.build_labels(builders.stock_of(("3g.40gb",), None))
    assert labels.plan_patch({**found, "other": "x"}, found) == {}
