"""A reservation for the first gang that waits: the nodes that come free first, as far as that can be told.

When a gang ends is told by its own report or by what is left of activeDeadlineSeconds, whichever is sooner.
Another gang may use what is reserved only if it is over by then at the latest: by its activeDeadlineSeconds,
as nothing else binds it (EASY backfill: Lifka, The ANL/IBM SP scheduling system, 1995).
"""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections import Counter
from collections.abc import Iterator, Mapping

from gpufleet.api import training_job
from gpufleet.decide.placement import booking, promises
from gpufleet.decide.placement.gangs import ground as grounds
from gpufleet.decide.placement.gangs import need as needs
from gpufleet.decide.placement.gangs import placed
from gpufleet.decide.training import attempt, outcome
from gpufleet.state import snapshot

Job = training_job.TrainingJob
_GRACE_S = 30
"""The API server's default."""


@dataclasses.dataclass(frozen=True, slots=True)
class Release:
    """Devices that a gang gives back when it ends; `left_s` is infinite where nobody knows when."""

    left_s: float
    name: str
    units: Mapping[str, int]
    basis: str


@dataclasses.dataclass(frozen=True, slots=True)
class Reservation:
    """Nodes for a gang, and when they are free: in so many seconds, None where that is not known."""

    need: needs.Need
    places: grounds.Places
    left_s: float | None
    basis: str

    def outlasts(self, job: Job) -> bool:
        """Whether the job is over before the reserved nodes are needed."""
        longest_s = find_longest_s(job)
        return self.left_s is not None and longest_s is not None and longest_s <= self.left_s


def find_longest_s(job: Job) -> int | None:
    """Seconds from its start after which the gang has ended at the latest; None where nothing binds it."""
    limit_s = attempt.find_time_left_s(job)
    grace_s = job.spec.checkpoint.grace_period_seconds if job.spec.checkpoint else _GRACE_S
    return None if limit_s is None else limit_s + grace_s


def find(
    need: needs.Need,
    view: snapshot.Snapshot,
    books: booking.Books,
    ground: grounds.Ground,
    pods: promises.PodsByOwner,
    now: datetime.datetime,
) -> Reservation | None:
    """None where the gang would not fit even after every gang: others hold the rest, and nobody ends them."""
    releases = sorted(_find_releases(need, view, pods, now), key=lambda one: (one.left_s, one.name))
    resource = need.assigned.resource
    freed: list[Counter[str]] = [Counter({name: held[resource] for name, held in books.ending.items()})]
    for one in releases:
        freed.append(freed[-1] + Counter(one.units))

    def find_places(number: int) -> grounds.Places | None:
        return needs.find_least(need, ground.rooms_with(need.assigned, freed[number]), ground)

    if find_places(len(releases)) is None:
        return None
    low, high = 0, len(releases)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if find_places(middle) is not None else (middle + 1, high)
    places = find_places(low) or {}
    if low == 0:
        return Reservation(need, places, 0.0, "pods that are ending hold the last devices")
    last = releases[low - 1]
    if math.isinf(last.left_s):
        return Reservation(need, places, None, f"nobody knows when {last.name} ends")
    return Reservation(need, places, last.left_s, f"{last.name} is the last of those before it: {last.basis}")


def _find_releases(
    need: needs.Need, view: snapshot.Snapshot, pods: promises.PodsByOwner, now: datetime.datetime
) -> Iterator[Release]:
    """Of gangs that hold what is needed, and were not told to end already."""
    resource = need.assigned.resource
    for job in view.jobs:
        given = job.status.assignment
        if given is None or not given.workers or outcome.is_finished(job):
            continue
        if given.accelerator is None or given.accelerator.resource != resource:
            continue
        own = [one for one in pods.of(placed.owner_of(job)) if one.node and not one.is_terminal]
        units: Counter[str] = Counter()
        for pod in own:
            if not pod.deleting:
                units[pod.node] += pod.requests.get(resource, 0)
        begun_s = min((pod.created_s or now.timestamp() for pod in own), default=now.timestamp())
        name = f"{job.metadata.namespace}/{job.metadata.name}"
        left_s, basis = _estimate(job, view, now.timestamp() - begun_s)
        yield Release(left_s, name, units, basis)


def _estimate(job: Job, view: snapshot.Snapshot, ran_s: float) -> tuple[float, str]:
    limit_s, told_s = attempt.find_time_left_s(job), view.left_s.get(job.metadata.uid)
    found = []
    if told_s is not None:
        found.append((told_s, "by its own report"))
    if limit_s is not None:
        found.append((max(0.0, limit_s - ran_s), "by its activeDeadlineSeconds"))
    return min(found, default=(math.inf, ""))
