"""How much the platform team lets change in the whole fleet; here what may be starting at a time.

What may be given up is in `disruption`. Both are counted from what the cluster shows, so that a restart
forgets nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Literal

from gpufleet import settings
from gpufleet.api import accelerator as accelerators
from gpufleet.api import triton_service
from gpufleet.decide.placement import disruption, promises

_TINY = 1e-9

Given = tuple[triton_service.TritonService, triton_service.ServiceAssignment]


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """For the whole fleet; 0 is no limit."""

    disruption_gpus_per_hour: float = 0.0
    surge_gpus: float = 0.0
    preemption: Literal["Advisory", "Active"] = "Advisory"
    minimum_runtime_s: float = 600.0
    """How long a gang has run before it gives anything up, or is resized."""


NONE = Limits()


def read(options: settings.Settings) -> Limits:
    """As the installation sets them."""
    return Limits(
        options.disruption_gpus_per_hour,
        options.surge_gpus,
        options.preemption,
        options.minimum_runtime_s,
    )


class Surge:
    """GPUs whose servers are still starting, in the whole fleet."""

    def __init__(self, services: Iterable[Given], pods: promises.PodsByOwner, most_gpus: float) -> None:
        self._most = most_gpus
        self._starting = sum(_count_starting(*one, pods) for one in services) if most_gpus > 0 else 0.0

    def take(self, assigned: accelerators.AssignedAccelerator | None, more: int) -> int:
        """How many of `more` servers may start now; 0 as the limit is none."""
        each = disruption.count_gpus(assigned)
        if self._most <= 0 or not each:
            return more
        allowed = min(more, max(0, math.floor((self._most - self._starting) / each + _TINY)))
        self._starting += allowed * each
        return allowed

    def describe(self) -> str:
        """Why no more may start."""
        return f"servers with {self._starting:.1f} GPUs are starting, and {self._most:g} may at a time"


def _count_starting(
    service: triton_service.TritonService,
    given: triton_service.ServiceAssignment,
    pods: promises.PodsByOwner,
) -> float:
    ready = sum(pod.ready and not pod.deleting for pod in pods.of(promises.owner_of(service)))
    return max(0, given.replicas - ready) * disruption.count_gpus(given.accelerator)
