"""Simulated nodes for the tests of this folder."""

from __future__ import annotations

import datetime

from gpufleet.simgpu import inventory
from gpufleet.simgpu import settings as settings_

H100 = "NVIDIA-H100-80GB-HBM3"
A100 = "NVIDIA-A100-SXM4-40GB"
L40S = "NVIDIA-L40S"


class FakeClock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.at_s = 0.0

    def now(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self.at_s, datetime.UTC)

    def monotonic_s(self) -> float:
        return self.at_s


def stock_of(
    *layouts: tuple[str, ...] | None, product: str = H100, strategy: settings_.MigStrategy = "mixed"
) -> inventory.Inventory:
    """A node with one GPU per layout: None is MIG off, () is MIG on and empty."""
    gpus = inventory.build_gpus("node-a", product, len(layouts))
    for gpu, layout in zip(gpus, layouts, strict=True):
        if layout is not None:
            gpu.set_mig_mode(True)
            for profile in layout:
                gpu.create_instance(profile)
    return inventory.Inventory(gpus, strategy)


def uuids(stock: inventory.Inventory) -> list[str]:
    """UUIDs of all instances, GPU by GPU."""
    return [instance.uuid for gpu in stock.gpus for instance in gpu.instances]
