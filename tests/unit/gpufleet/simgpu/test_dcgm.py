from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, exposition

from gpufleet.simgpu import dcgm, inventory, podresources, telemetry, usage
from tests.unit.gpufleet.simgpu import builders

CONTAINER = ("team-a", "vision-0", "triton")


def scrape(
    stock: inventory.Inventory,
    *uuids: str,
    cores: float = 0.5,
    memory_mib: float = 1024.0,
    xids: dict[int, int] | None = None,
) -> dict[str, float]:
    """Samples of one scrape, spelled as Prometheus would read them."""
    holders = [podresources.Holder(*CONTAINER, uuids)] if uuids else []
    readings = telemetry.read_devices(stock.gpus, holders, {CONTAINER: usage.Use(cores, memory_mib)}, 1.0)
    clock = builders.FakeClock()
    exporter = dcgm.Exporter("node-a", clock)
    exporter.observe(readings, xids or {})
    clock.at_s = 10.0
    exporter.observe(readings, xids or {})
    registry = CollectorRegistry()
    registry.register(exporter)
    lines = exposition.generate_latest(registry).decode().splitlines()
    return {
        line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")
    }


def values(samples: dict[str, float], name: str) -> list[float]:
    return [value for key, value in samples.items() if key.startswith(f"DCGM_FI_{name}{{")]


def test_a_whole_gpu_follows_its_container() -> None:
    stock = builders.stock_of(None)
    samples = scrape(stock, stock.gpus[0].uuid)
    assert values(samples, "DEV_GPU_UTIL") == [50]
    assert values(samples, "PROF_GR_ENGINE_ACTIVE") == [0.5]
    assert values(samples, "DEV_FB_USED") == [1035]
    assert values(samples, "DEV_FB_FREE") == [81559 - 1035]
    assert values(samples, "DEV_POWER_USAGE") == [pytest.approx(700 * 0.55)]
    assert values(samples, "DEV_TOTAL_ENERGY_CONSUMPTION") == [pytest.approx(700 * 0.55 * 10 * 1000)]


def test_labels_are_the_exporters() -> None:
    stock = builders.stock_of(("3g.40gb",))
    instance = stock.gpus[0].instances[0]
    (sample,) = [key for key in scrape(stock, instance.uuid) if "GR_ENGINE" in key]
    for label in (
        'gpu="0"', f'UUID="{stock.gpus[0].uuid}"', 'device="nvidia0"', 'modelName="NVIDIA H100 80GB HBM3"',
        'Hostname="node-a"', 'GPU_I_PROFILE="3g.40gb"', f'GPU_I_ID="{instance.gi_id}"',
        'container="triton"', 'namespace="team-a"', 'pod="vision-0"',
    ):  # fmt: skip
        assert label in sample


def test_on_mig_utilization_is_absent_and_each_instance_speaks() -> None:
    stock = builders.stock_of(("3g.40gb", "3g.40gb"), ())
    samples = scrape(stock, stock.gpus[0].instances[0].uuid)
    assert values(samples, "DEV_GPU_UTIL") == []
    assert values(samples, "DEV_MEM_COPY_UTIL") == []
    assert values(samples, "PROF_GR_ENGINE_ACTIVE") == [0.5, 0, 0]
    assert values(samples, "PROF_PIPE_TENSOR_ACTIVE")[0] > 0
    assert values(samples, "PROF_DRAM_ACTIVE")[0] > 0
    assert values(samples, "DEV_FB_USED")[:2] == [1035, 11]
    assert values(samples, "DEV_FB_FREE")[1] == 40320 - 11
    busy_w, beside_w, idle_w = values(samples, "DEV_POWER_USAGE")
    assert busy_w == beside_w > idle_w


@pytest.mark.parametrize(
    ("cores", "memory_mib", "activity", "used_mib"),
    [
        pytest.param(0.0, 0.0, 0.0, 11, id="idle"),
        pytest.param(40.0, 10.0, 1.0, 21, id="more cores than a device is worth"),
        pytest.param(0.1, 1e6, 0.1, 9984, id="more memory than the slice has"),
    ],
)
def test_readings_stay_within_the_device(
    cores: float, memory_mib: float, activity: float, used_mib: int
) -> None:
    stock = builders.stock_of(("1g.10gb",))
    samples = scrape(stock, *builders.uuids(stock), cores=cores, memory_mib=memory_mib)
    assert values(samples, "PROF_GR_ENGINE_ACTIVE") == [pytest.approx(activity)]
    assert values(samples, "DEV_FB_USED") == [used_mib]


def test_a_container_with_two_gpus_loads_each_by_half() -> None:
    stock = builders.stock_of(None, None)
    samples = scrape(stock, *(gpu.uuid for gpu in stock.gpus), cores=1.0)
    assert values(samples, "DEV_GPU_UTIL") == [50, 50]


def test_an_xid_shows_on_its_gpu() -> None:
    samples = scrape(builders.stock_of(None, None), xids={1: 79})
    assert values(samples, "DEV_XID_ERRORS") == [0, 79]


def test_use_is_read_from_the_kubelets_summary() -> None:
    summary = {
        "pods": [
            {
                "podRef": {"namespace": "team-a", "name": "vision-0"},
                "containers": [
                    {
                        "name": "triton",
                        "cpu": {"usageNanoCores": 250_000_000},
                        "memory": {"workingSetBytes": 2 << 20},
                    },
                    {"name": "just-started"},
                ],
            },
            {"podRef": {"namespace": "x", "name": "sandbox-only"}},
        ]
    }
    assert usage.read_uses(summary) == {
        CONTAINER: usage.Use(0.25, 2.0),
        ("team-a", "vision-0", "just-started"): usage.Use(),
    }
