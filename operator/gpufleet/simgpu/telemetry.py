"""What the simulated GPUs would measure, given what their pods do. Values are a model, names are DCGM's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from gpufleet.decide.mig import geometry
from gpufleet.simgpu import device, podresources, usage

IDLE_POWER_SHARE = 0.1
IDLE_TEMPERATURE_C = 30.0
FULL_TEMPERATURE_C = 80.0
IDLE_MEMORY_MIB = 11
"""Framebuffer that an empty MIG device reports in use (MIG User Guide)."""
TENSOR_SHARE = 0.6
DRAM_SHARE = 0.5
"""Tensor pipe and memory activity of a busy engine; the model's own choice."""


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """One entity of the exporter: a GPU, or a GPU Instance with its `instance`. Activity from 0 to 1."""

    gpu: device.Gpu
    instance: device.Instance | None
    holder: podresources.Holder | None
    activity: float
    fb_used_mib: int
    fb_free_mib: int
    power_w: float
    temperature_c: float


def read_devices(
    gpus: Sequence[device.Gpu],
    holders: Sequence[podresources.Holder],
    uses: Mapping[usage.Container, usage.Use],
    cores_at_full_load: float,
) -> list[Reading]:
    """All entities of the node. A container's use is divided equally among the devices it holds."""
    by_uuid = {uuid: holder for holder in holders for uuid in holder.uuids}
    readings: list[Reading] = []
    for gpu in gpus:
        entities: list[device.Instance | None] = [*gpu.instances] or [None]
        measured = [_measure(gpu, it, by_uuid, uses, cores_at_full_load) for it in entities]
        power_w = _power_w(gpu, measured)
        readings += [_complete(entity, power_w) for entity in measured]
    return readings


def _measure(
    gpu: device.Gpu,
    instance: device.Instance | None,
    by_uuid: Mapping[str, podresources.Holder],
    uses: Mapping[usage.Container, usage.Use],
    cores_at_full_load: float,
) -> Reading:
    holder = by_uuid.get(instance.uuid if instance else gpu.uuid)
    use, share = usage.Use(), 1
    if holder:
        use = uses.get((holder.namespace, holder.pod, holder.container), use)
        share = len(holder.uuids)
    memory_mib = (
        geometry.profile_of(gpu.model, instance.profile).memory_mib if instance else gpu.model.memory_mib
    )
    used_mib = min(memory_mib, IDLE_MEMORY_MIB + round(use.memory_mib / share))
    activity = min(1.0, use.cpu_cores / share / cores_at_full_load)
    return Reading(gpu, instance, holder, activity, used_mib, memory_mib - used_mib, 0.0, 0.0)


def _power_w(gpu: device.Gpu, entities: Sequence[Reading]) -> float:
    """Between idle and the limit by the share of multiprocessors that work."""
    load = sum(entity.activity * _multiprocessor_share(gpu, entity.instance) for entity in entities)
    limit_w = gpu.model.power_limit_w
    return limit_w * (IDLE_POWER_SHARE + (1 - IDLE_POWER_SHARE) * min(1.0, load))


def _multiprocessor_share(gpu: device.Gpu, instance: device.Instance | None) -> float:
    if instance is None or not gpu.model.multiprocessors:
        return 1.0
    return geometry.profile_of(gpu.model, instance.profile).multiprocessors / gpu.model.multiprocessors


def _complete(entity: Reading, power_w: float) -> Reading:
    share = power_w / entity.gpu.model.power_limit_w
    temperature_c = IDLE_TEMPERATURE_C + (FULL_TEMPERATURE_C - IDLE_TEMPERATURE_C) * share
    return dataclasses.replace(entity, power_w=power_w, temperature_c=temperature_c)
