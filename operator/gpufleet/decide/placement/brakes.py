"""How much the platform team lets change in the whole fleet: GPUs given up per hour, starting at a time.

Both are counted from what the cluster shows, so that a restart forgets nothing.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import re
from collections.abc import Iterable, Mapping

from gpufleet.api import accelerator as accelerators
from gpufleet.api import triton_service
from gpufleet.decide.autoscaling import scaler
from gpufleet.decide.placement import promises

_SLICE = re.compile(r"/mig-([1-7])g\.")
_SLICES_OF_A_GPU = 7
_HOUR_S = 3600.0
_TINY = 1e-9

Given = tuple[triton_service.TritonService, triton_service.ServiceAssignment]


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """For the whole fleet; 0 is no limit."""

    disruption_gpus_per_hour: float = 0.0
    surge_gpus: float = 0.0


NONE = Limits()


def count_gpus(assigned: accelerators.AssignedAccelerator | None) -> float:
    """GPUs of one server; a slice counts by its compute slices, of which a GPU has seven."""
    if assigned is None:
        return 0.0
    found = _SLICE.search(assigned.resource)
    return assigned.count * (int(found[1]) / _SLICES_OF_A_GPU if found else 1.0)


def limit_shrinking(
    services: Iterable[triton_service.TritonService],
    scalings: Mapping[str, scaler.Scaling],
    gpus_per_hour: float,
    now: datetime.datetime,
) -> Mapping[str, scaler.Scaling]:
    """The scalings as far as the disruption budget allows servers to go; 0 is no limit."""
    if gpus_per_hour <= 0:
        return scalings
    services = list(services)
    left = gpus_per_hour - sum(_spent(one, now) for one in services)
    after = dict(scalings)
    for service in services:
        scaling = scalings.get(service.metadata.uid)
        assigned = service.status.assignment.accelerator if service.status.assignment else None
        each = count_gpus(assigned)
        if scaling is None or scaling.mode != "Active" or scaling.replicas >= scaling.before or not each:
            continue
        fewer = min(scaling.before - scaling.replicas, max(0, math.floor(left / each + _TINY)))
        left -= fewer * each
        after[service.metadata.uid] = scaling.clamp(
            scaler.DISRUPTION_BUDGET,
            scaling.before - fewer,
            f"of {gpus_per_hour:g} GPUs per hour {max(0.0, left):.1f} may still be given up",
        )
    return after


def _spent(service: triton_service.TritonService, now: datetime.datetime) -> float:
    """GPUs that this service gave up within the last hour, by its record."""
    record, assignment = service.status.autoscaling, service.status.assignment
    if record is None or record.mode != "Active" or assignment is None:
        return 0.0
    gone = sum(
        one.before - one.replicas
        for one in record.decisions
        if one.reason == scaler.SCALED_DOWN and (now - one.time).total_seconds() < _HOUR_S
    )
    return gone * count_gpus(assignment.accelerator)


class Surge:
    """GPUs whose servers are still starting, in the whole fleet."""

    def __init__(self, services: Iterable[Given], pods: promises.PodsByOwner, most_gpus: float) -> None:
        self._most = most_gpus
        self._starting = sum(_count_starting(*one, pods) for one in services) if most_gpus > 0 else 0.0

    def take(self, assigned: accelerators.AssignedAccelerator | None, more: int) -> int:
        """How many of `more` servers may start now; 0 as the limit is none."""
        each = count_gpus(assigned)
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
    return max(0, given.replicas - ready) * count_gpus(given.accelerator)
