"""DCGM exporter's metrics, by its names and labels, for the simulated GPUs.

DCGM_FI_DEV_GPU_UTIL and _MEM_COPY_UTIL do not exist on MIG: there only the profiling fields speak.
Fields of the board (power, energy, temperature, XID) repeat on each of its instances.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import metrics_core, registry

from gpufleet import clock as clock_
from gpufleet.simgpu import telemetry

_MILLIJOULE_PER_JOULE = 1000

_HELP = {
    "DCGM_FI_DEV_GPU_UTIL": "GPU utilization (in %).",
    "DCGM_FI_DEV_MEM_COPY_UTIL": "Memory utilization (in %).",
    "DCGM_FI_DEV_FB_USED": "Framebuffer memory used (in MiB).",
    "DCGM_FI_DEV_FB_FREE": "Framebuffer memory free (in MiB).",
    "DCGM_FI_DEV_POWER_USAGE": "Power draw (in W).",
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": "Total energy consumption since start (in mJ).",
    "DCGM_FI_DEV_GPU_TEMP": "GPU temperature (in C).",
    "DCGM_FI_DEV_XID_ERRORS": "Value of the last XID error encountered.",
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE": "Ratio of time the graphics engine is active.",
    "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": "Ratio of cycles the tensor pipe is active.",
    "DCGM_FI_PROF_DRAM_ACTIVE": "Ratio of cycles the device memory interface is active.",
}


class Exporter(registry.Collector):
    """A collector of the node's latest readings; `observe` takes new ones and adds up energy."""

    def __init__(self, node: str, clock: clock_.Clock) -> None:
        self._node = node
        self._clock = clock
        self._readings: list[telemetry.Reading] = []
        self._xids: Mapping[int, int] = {}
        self._energy_mj: dict[str, float] = {}
        self._observed_s: float | None = None

    def observe(self, readings: list[telemetry.Reading], xids: Mapping[int, int]) -> None:
        """Take the readings of this moment."""
        now_s = self._clock.monotonic_s()
        elapsed_s = now_s - (self._observed_s if self._observed_s is not None else now_s)
        for gpu_uuid, power_w in {reading.gpu.uuid: reading.power_w for reading in readings}.items():
            so_far = self._energy_mj.get(gpu_uuid, 0.0)
            self._energy_mj[gpu_uuid] = so_far + power_w * elapsed_s * _MILLIJOULE_PER_JOULE
        self._readings, self._xids, self._observed_s = readings, xids, now_s

    def collect(self) -> Iterator[metrics_core.Metric]:
        for name, read in self._fields().items():
            family = metrics_core.Metric(name, _HELP[name], "gauge")
            for reading in self._readings:
                value = read(reading)
                if value is not None:
                    family.add_sample(name, self._labels(reading), value)
            yield family

    def _fields(self) -> dict[str, Callable[[telemetry.Reading], float | None]]:
        return {
            "DCGM_FI_DEV_GPU_UTIL": lambda r: _unless_mig(r, round(100 * r.activity)),
            "DCGM_FI_DEV_MEM_COPY_UTIL": lambda r: _unless_mig(
                r, round(100 * r.activity * telemetry.DRAM_SHARE)
            ),
            "DCGM_FI_DEV_FB_USED": lambda r: r.fb_used_mib,
            "DCGM_FI_DEV_FB_FREE": lambda r: r.fb_free_mib,
            "DCGM_FI_DEV_POWER_USAGE": lambda r: r.power_w,
            "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": lambda r: round(self._energy_mj[r.gpu.uuid]),
            "DCGM_FI_DEV_GPU_TEMP": lambda r: round(r.temperature_c),
            "DCGM_FI_DEV_XID_ERRORS": lambda r: self._xids.get(r.gpu.index, 0),
            "DCGM_FI_PROF_GR_ENGINE_ACTIVE": lambda r: r.activity,
            "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": lambda r: r.activity * telemetry.TENSOR_SHARE,
            "DCGM_FI_PROF_DRAM_ACTIVE": lambda r: r.activity * telemetry.DRAM_SHARE,
        }

    def _labels(self, reading: telemetry.Reading) -> dict[str, str]:
        gpu = reading.gpu
        labels = {
            "gpu": str(gpu.index),
            "UUID": gpu.uuid,
            "pci_bus_id": f"00000000:{gpu.index + 1:02X}:00.0",
            "device": f"nvidia{gpu.index}",
            "modelName": gpu.product.replace("-", " "),
            "Hostname": self._node,
        }
        if reading.instance:
            labels |= {"GPU_I_PROFILE": reading.instance.profile, "GPU_I_ID": str(reading.instance.gi_id)}
        if holder := reading.holder:
            labels |= {"container": holder.container, "namespace": holder.namespace, "pod": holder.pod}
        return labels


def _unless_mig(reading: telemetry.Reading, value: float) -> float | None:
    return None if reading.gpu.mig_enabled else value
