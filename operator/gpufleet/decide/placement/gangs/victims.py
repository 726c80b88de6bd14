"""What may be given up for a gang that waits, and how little of it is enough.

Elastic gangs go down to their smallest size before any gang is ended; of each the one with least lost work
first. Then, in reverse, every victim is added back that is not needed (Kueue and kube-scheduler do the same).
"""

from __future__ import annotations

import dataclasses
import datetime
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from gpufleet.api import training_job
from gpufleet.decide.placement import booking, brakes, disruption, promises
from gpufleet.decide.placement.gangs import need as needs
from gpufleet.decide.placement.gangs import order as orders
from gpufleet.decide.placement.gangs import placed
from gpufleet.decide.training import layout, outcome
from gpufleet.state import fleet, snapshot

Job = training_job.TrainingJob


@dataclasses.dataclass(frozen=True, slots=True)
class Victim:
    """A gang that gives up devices: all of them, or what it has beyond its smallest size."""

    job: Job
    workers: int
    """Workers that stay."""
    freed: Mapping[str, int]
    """Units of the resource by node."""
    gpus: float
    lost_gpu_s: float
    """Work since the last checkpoint, in GPU-seconds: a gang goes back to it as a whole, also to shrink."""

    @property
    def shed(self) -> int:
        given = self.job.status.assignment
        return given.workers - self.workers if given else 0


def find_candidates(
    need: needs.Need,
    view: snapshot.Snapshot,
    books: booking.Books,
    pods: promises.PodsByOwner,
    order: orders.Order,
    limits: brakes.Limits,
    now: datetime.datetime,
) -> list[Victim]:
    """In the order in which they are given up. Gangs that have hardly begun, or are not whole, are none."""
    nodes = {node.name for node in books.nodes_for(need.assigned)}
    found: list[tuple[bool, Victim]] = []
    for job in view.jobs:
        given = job.status.assignment
        if given is None or not given.workers or given.accelerator is None or outcome.is_finished(job):
            continue
        if given.accelerator.resource != need.assigned.resource or not order.may_displace(need.job, job):
            continue
        own = [pod for pod in pods.of(placed.owner_of(job)) if not pod.is_terminal]
        begun_s = min((pod.created_s or 0.0 for pod in own), default=None)
        is_whole = len(own) == given.workers and all(pod.node and not pod.deleting for pod in own)
        if begun_s is None or not is_whole or now.timestamp() - begun_s < limits.minimum_runtime_s:
            continue
        if not nodes.isdisjoint(pod.node for pod in own):
            lost_s = _find_lost_s(job, begun_s, now)
            found += ((bool(one.workers), one) for one in _build(job, own, lost_s))
    found.sort(key=lambda one: (not one[0], one[1].lost_gpu_s, _name(one[1].job)))
    return [victim for _, victim in found]


def choose(
    candidates: Sequence[Victim], fits: Callable[[Mapping[str, int]], bool]
) -> tuple[Victim, ...] | None:
    """The victims, none of whom could stay; None where all of them together are not enough."""
    taken: list[Victim] = []
    for victim in candidates:
        taken.append(victim)
        if fits(sum_freed(taken)):
            break
    else:
        return None
    for victim in tuple(reversed(taken)):
        rest = [one for one in taken if one is not victim]
        if fits(sum_freed(rest)):
            taken = rest
    return tuple(_merge(taken).values())


def sum_freed(victims: Sequence[Victim]) -> Counter[str]:
    """Units by node; a gang that ends frees what it would have freed by shrinking too."""
    freed: Counter[str] = Counter()
    for victim in _merge(victims).values():
        freed.update(victim.freed)
    return freed


def _merge(victims: Sequence[Victim]) -> dict[str, Victim]:
    """By job; ending one says more than shrinking it."""
    return {one.job.metadata.uid: one for one in sorted(victims, key=lambda one: -one.workers)}


def _build(job: Job, own: Sequence[fleet.Pod], lost_s: float) -> Iterator[Victim]:
    given = job.status.assignment
    assert given is not None
    assert given.accelerator is not None
    each = disruption.count_gpus(given.accelerator)
    lost_gpu_s = lost_s * each * given.workers
    smallest = layout.count_workers(job, job.spec.workers.min or given.workers, given.accelerator.count)
    for stay in {smallest, 0} if smallest < given.workers else {0}:
        freed: Counter[str] = Counter()
        for pod in own:
            if placed.read_index(pod) >= stay:
                freed[pod.node] += pod.requests.get(given.accelerator.resource, 0)
        yield Victim(job, stay, freed, each * (given.workers - stay), lost_gpu_s)


def _find_lost_s(job: Job, begun_s: float, now: datetime.datetime) -> float:
    """Since the last checkpoint of this attempt, else since its start."""
    said = job.status.progress
    saved_s = said.checkpoint_time.timestamp() if said and said.checkpoint_time else 0.0
    return max(0.0, now.timestamp() - max(saved_s, begun_s))


def _name(job: Job) -> tuple[str, str]:
    return job.metadata.namespace, job.metadata.name
