"""What containers use, from the kubelet's stats summary: the load that simulated GPUs mirror.

It needs `get` on nodes/stats, asked of the node's own kubelet; the API server's node proxy would need
nodes/proxy, which opens every kubelet endpoint.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

from gpufleet.simgpu import kube

log = logging.getLogger(__name__)

SUMMARY_PATH = "/stats/summary"
_NANO = 1e-9
_MIB = 1 << 20

Container = tuple[str, str, str]
"""Namespace, pod, container."""


@dataclasses.dataclass(frozen=True, slots=True)
class Use:
    """CPU in cores, memory as the working set."""

    cpu_cores: float = 0.0
    memory_mib: float = 0.0


class KubeletStats:
    """Reads the summary; while the kubelet does not answer, the last reading stands."""

    def __init__(self, kubelet: kube.Api) -> None:
        self._kubelet = kubelet
        self._silent = False
        self.uses: Mapping[Container, Use] = {}

    async def refresh(self) -> None:
        try:
            summary = await self._kubelet.read(SUMMARY_PATH, only_cpu_and_memory="true")
        except kube.TRANSIENT as error:
            if not self._silent:
                log.warning("the kubelet gives no usage, GPUs look as before: %s", error)
            self._silent = True
            return
        self._silent = False
        self.uses = read_uses(summary)


def read_uses(summary: Mapping[str, Any]) -> dict[Container, Use]:
    """Use per container of a stats summary; figures it lacks count as zero."""
    found: dict[Container, Use] = {}
    for pod in summary.get("pods", ()):
        for container in pod.get("containers", ()):
            key = (pod["podRef"]["namespace"], pod["podRef"]["name"], container["name"])
            found[key] = Use(
                cpu_cores=container.get("cpu", {}).get("usageNanoCores", 0) * _NANO,
                memory_mib=container.get("memory", {}).get("workingSetBytes", 0) / _MIB,
            )
    return found
