"""All simulated GPUs of a node, and the devices that its device plugin advertises for them."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import Collection, Iterator

from gpufleet.decide.mig import catalogue, devices
from gpufleet.simgpu import device
from gpufleet.simgpu import settings as settings_

_NAMESPACE = uuid.UUID("6f0f8d8e-3c55-4c0c-9d43-0f2f6f7a4f10")


class UnknownProductError(ValueError):
    """The catalogue has no model with this product label, or it is no NVIDIA GPU."""


@dataclasses.dataclass(frozen=True, slots=True)
class Advertised:
    """A device as the kubelet sees it."""

    uuid: str
    healthy: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Located:
    """Where a device UUID is: its GPU, and its instance if it is a MIG device."""

    gpu: device.Gpu
    instance: device.Instance | None


class Inventory:
    """The GPUs of one node. Whoever changes them calls `changed`; whoever follows them awaits `wait`."""

    def __init__(self, gpus: list[device.Gpu], strategy: settings_.MigStrategy = "mixed") -> None:
        self.gpus = gpus
        self.strategy = strategy
        self.unhealthy: frozenset[int] = frozenset()
        self.known_resources: set[str] = set()
        self.generation = 0
        self._moved = asyncio.Condition()

    async def changed(self) -> None:
        """Wake everyone who follows the devices."""
        async with self._moved:
            self.generation += 1
            self._moved.notify_all()

    async def wait(self, seen: int) -> int:
        """The generation after `seen`, as soon as there is one."""
        async with self._moved:
            await self._moved.wait_for(lambda: self.generation != seen)
            return self.generation

    def set_busy(self, held: Collection[str]) -> None:
        """Tell every GPU which UUIDs containers hold."""
        for gpu in self.gpus:
            gpu.set_busy(held)

    def advertise(self) -> dict[str, list[Advertised]]:
        """Devices per resource; a resource that once had devices stays, with none."""
        found: dict[str, list[Advertised]] = {resource: [] for resource in sorted(self.known_resources)}
        for resource, gpu, device_uuid in self._devices():
            healthy = gpu.index not in self.unhealthy
            found.setdefault(resource, []).append(Advertised(device_uuid, healthy))
        self.known_resources |= set(found)
        return found

    def locate(self, device_uuid: str) -> Located | None:
        """The GPU, and instance, behind a device UUID."""
        for gpu in self.gpus:
            if gpu.uuid == device_uuid:
                return Located(gpu, None)
            for instance in gpu.instances:
                if instance.uuid == device_uuid:
                    return Located(gpu, instance)
        return None

    @property
    def single_profile(self) -> str | None:
        """The one profile of all GPUs under the single strategy; None where they differ or one is empty."""
        if not self.gpus or not all(gpu.mig_enabled and gpu.instances for gpu in self.gpus):
            return None
        profiles = {instance.profile for gpu in self.gpus for instance in gpu.instances}
        return profiles.pop() if len(profiles) == 1 else None

    def _devices(self) -> Iterator[tuple[str, device.Gpu, str]]:
        any_mig = any(gpu.mig_enabled for gpu in self.gpus)
        if self.strategy == "single" and any_mig and self.single_profile is None:
            return
        for gpu in self.gpus:
            if not gpu.mig_enabled:
                yield devices.GPU_RESOURCE, gpu, gpu.uuid
            for instance in gpu.instances:
                mixed = catalogue.resource_name(instance.profile)
                yield (mixed if self.strategy == "mixed" else devices.GPU_RESOURCE), gpu, instance.uuid


def build_gpus(node: str, product: str, count: int) -> list[device.Gpu]:
    """New GPUs with MIG off; their UUIDs follow from node and index. Raises UnknownProductError."""
    model = catalogue.model_of_product(product)
    if model is None or model.resource != devices.GPU_RESOURCE:
        known = ", ".join(
            sorted(p for p, m in catalogue.default().by_product.items() if "nvidia" in m.resource)
        )
        raise UnknownProductError(f"no NVIDIA GPU has the product label {product}; known are {known}")
    return [
        device.Gpu(model, product, index, f"GPU-{uuid.uuid5(_NAMESPACE, f'{node}/{index}')}")
        for index in range(count)
    ]
