"""Changes the GPUs of a node to a wanted layout as mig-parted does, with its collateral damage.

GPUs that already match are left alone; any other is cleared whole, idle instances first come, first
destroyed, until a busy one stops it. On Ampere a change of mode resets every GPU of the node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gpufleet.decide.mig import geometry
from gpufleet.simgpu import device, migconfig


def apply(gpus: Sequence[device.Gpu], wanted: Mapping[int, migconfig.Wanted]) -> None:
    """Bring every named GPU to what is wanted. Raises DeviceError at the first refusal, leaving it there."""
    _apply_modes(gpus, wanted)
    for gpu in gpus:
        target = wanted.get(gpu.index)
        if target is not None and not migconfig.is_applied(gpu, target):
            _rebuild(gpu, target)


def is_applied(gpus: Sequence[device.Gpu], wanted: Mapping[int, migconfig.Wanted]) -> bool:
    """Whether no GPU would change."""
    by_index = {gpu.index: gpu for gpu in gpus}
    return all(migconfig.is_applied(by_index[index], target) for index, target in wanted.items())


def _apply_modes(gpus: Sequence[device.Gpu], wanted: Mapping[int, migconfig.Wanted]) -> None:
    changing = [g for g in gpus if g.index in wanted and g.mig_enabled != wanted[g.index].mig_enabled]
    for gpu in changing:
        gpu.clear()
    if any(gpu.model.keeps_mig_mode_over_reboot for gpu in changing):
        _reset_all(gpus)
    for gpu in changing:
        gpu.set_mig_mode(wanted[gpu.index].mig_enabled)


def _reset_all(gpus: Sequence[device.Gpu]) -> None:
    for gpu in gpus:
        gpu.require_idle("reset")
    for gpu in gpus:
        gpu.reset()


def _rebuild(gpu: device.Gpu, target: migconfig.Wanted) -> None:
    gpu.clear()
    # mig-parted tries every order and leaves the GPU empty if none works. Largest first always does
    # where any does, so the others need no trying.
    try:
        order = geometry.creation_order(gpu.model, target.profiles)
    except geometry.NoLayoutError as error:
        raise device.DeviceError(device.INSUFFICIENT_RESOURCES, f"GPU {gpu.index}: {error}") from error
    for placement in order:
        gpu.create_instance(placement.profile)
