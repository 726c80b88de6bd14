"""GPUs and MIG devices from NVIDIA's driver, by the library nvidia-ml-py where it is installed.

NVML is opened and closed around each reading: whoever keeps it open is a client of every GPU, and a GPU
with a client cannot be reset.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from gpufleet.agents.node import hardware

_CUT = " MIG "
"""Between the product and the profile in a MIG device's name."""


def read() -> hardware.Gpus:
    """All GPUs of the node. Raises hardware.NoLibraryError where there is none, and HardwareError."""
    try:
        import pynvml
    except ImportError as error:
        raise hardware.NoLibraryError(str(error)) from error
    return read_with(pynvml)


def read_with(nvml: Any) -> hardware.Gpus:
    """The same with a module that has NVML's functions."""
    try:
        with _opened(nvml):
            return tuple(_read_gpu(nvml, index) for index in range(nvml.nvmlDeviceGetCount()))
    except nvml.NVMLError as error:
        raise hardware.HardwareError(f"NVML: {error}") from error


@contextlib.contextmanager
def _opened(nvml: Any) -> Iterator[None]:
    try:
        nvml.nvmlInit()
    except nvml.NVMLError_LibraryNotFound as error:
        raise hardware.NoLibraryError(str(error)) from error
    try:
        yield
    finally:
        nvml.nvmlShutdown()


def _read_gpu(nvml: Any, index: int) -> hardware.Gpu:
    gpu = nvml.nvmlDeviceGetHandleByIndex(index)
    # The label's spelling, as GPU feature discovery writes it.
    product = nvml.nvmlDeviceGetName(gpu).replace(" ", "-")
    is_cut = _has_mig(nvml, gpu)
    instances = tuple(_read_instances(nvml, gpu)) if is_cut else ()
    return hardware.Gpu(index, nvml.nvmlDeviceGetUUID(gpu), product, is_cut, instances)


def _has_mig(nvml: Any, gpu: Any) -> bool:
    try:
        current, _ = nvml.nvmlDeviceGetMigMode(gpu)
    except nvml.NVMLError_NotSupported:
        return False
    return bool(current == nvml.NVML_DEVICE_MIG_ENABLE)


def _read_instances(nvml: Any, gpu: Any) -> Iterator[hardware.Instance]:
    for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(gpu)):
        try:
            device = nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, number)
        except nvml.NVMLError_NotFound:
            continue
        profile = nvml.nvmlDeviceGetName(device).rpartition(_CUT)[2]
        start = _read_start(nvml, gpu, nvml.nvmlDeviceGetGpuInstanceId(device))
        yield hardware.Instance(nvml.nvmlDeviceGetUUID(device), profile, start)


def _read_start(nvml: Any, gpu: Any, gi_id: int) -> int:
    """The driver tells placements to CAP_SYS_ADMIN alone."""
    try:
        instance = nvml.nvmlDeviceGetGpuInstanceById(gpu, gi_id)
    except nvml.NVMLError_NoPermission:
        return hardware.UNKNOWN
    return int(nvml.nvmlGpuInstanceGetInfo(instance).placement.start)
