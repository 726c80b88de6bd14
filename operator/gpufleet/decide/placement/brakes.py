"""How much the platform team lets change in the whole fleet: GPUs given up per hour, starting at a time.

Both are counted from what the cluster shows, so that a restart forgets nothing.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import re
from collections.abc import Iterable, Mapping
from typing import Literal

from gpufleet import settings
from gpufleet.api import accelerator as accelerators
from gpufleet.api import reasons, training_job, triton_service
from gpufleet.decide.autoscaling import scaler
from gpufleet.decide.placement import promises
from gpufleet.state import snapshot

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


def count_gpus(assigned: accelerators.AssignedAccelerator | None) -> float:
    """GPUs of one server; a slice counts by its compute slices, of which a GPU has seven."""
    if assigned is None:
        return 0.0
    found = _SLICE.search(assigned.resource)
    return assigned.count * (int(found[1]) / _SLICES_OF_A_GPU if found else 1.0)


def count_left(
    view: snapshot.Snapshot,
    scalings: Mapping[str, scaler.Scaling],
    gpus_per_hour: float,
    now: datetime.datetime,
) -> float:
    """GPUs that may still be taken from gangs within the hour, once servers have shrunk as `scalings` say."""
    if gpus_per_hour <= 0:
        return math.inf
    spent = spent_on_gangs(view.jobs, now)
    for service in view.services:
        spent += _spent(service, now)
        scaling, given = scalings.get(service.metadata.uid), service.status.assignment
        if scaling is not None and scaling.mode == "Active" and given is not None:
            spent += max(0, scaling.before - scaling.replicas) * count_gpus(given.accelerator)
    return gpus_per_hour - spent


def spent_on_gangs(jobs: Iterable[training_job.TrainingJob], now: datetime.datetime) -> float:
    """GPUs that gangs gave up for others within the last hour, by their records and assignments."""
    return sum(_shed(job, now) for job in jobs)


def _shed(job: training_job.TrainingJob, now: datetime.datetime) -> float:
    """A gang that was ended tells of it in its assignment until it starts again, and then in its history."""
    given = job.status.assignment
    if given is None:
        return 0.0
    since = now - datetime.timedelta(seconds=_HOUR_S)
    is_told = given.resized_at is not None and given.resized_at > since
    ended = [
        one.workers
        for one in job.status.history
        if one.ended_by == "Preempted"
        and one.end_time > since
        and not (is_told and given.reason == reasons.PREEMPTED and one is job.status.history[0])
    ]
    return (sum(ended) + (given.shed_workers if is_told else 0)) * count_gpus(given.accelerator)


def limit_shrinking(
    services: Iterable[triton_service.TritonService],
    scalings: Mapping[str, scaler.Scaling],
    gpus_per_hour: float,
    now: datetime.datetime,
    spent_gpus: float = 0.0,
) -> Mapping[str, scaler.Scaling]:
    """The scalings as far as the disruption budget allows servers to go; 0 is no limit.

    `spent_gpus` are those that others than services have given up within the hour.
    """
    if gpus_per_hour <= 0:
        return scalings
    services = list(services)
    left = gpus_per_hour - spent_gpus - sum(_spent(one, now) for one in services)
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
