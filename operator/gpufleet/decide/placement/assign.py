"""The fleet cycle's decision: replicas and accelerator for every service, admission for every gang.

Gangs are all or none: one is admitted when its smallest size fits into what is free now, counted node by
node, after everything that is assigned already but whose pods are not there yet. What is admitted stays.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator, Mapping, Sequence

from gpufleet.api import accelerator as accelerators
from gpufleet.api import reasons, training_job, triton_service
from gpufleet.decide.autoscaling import memories as counting
from gpufleet.decide.autoscaling import scaler
from gpufleet.decide.placement import accelerators as resolving
from gpufleet.decide.placement import booking, brakes, growth, promises, surge
from gpufleet.decide.training import outcome
from gpufleet.state import assignment as assignments
from gpufleet.state import fleet, names, snapshot


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What is to be written, and the scalings that led to it, by UID: with the clamps of the fleet."""

    assignments: tuple[assignments.Assignment, ...]
    scalings: Mapping[str, scaler.Scaling]


def assign(
    view: snapshot.Snapshot,
    scalings: Mapping[str, scaler.Scaling],
    now: datetime.datetime,
    limits: brakes.Limits = brakes.NONE,
) -> tuple[assignments.Assignment, ...]:
    """Every assignment that differs from the one the object has; `scalings` are by a service's UID."""
    return plan(view, scalings, now, limits).assignments


def plan(
    view: snapshot.Snapshot,
    scalings: Mapping[str, scaler.Scaling],
    now: datetime.datetime,
    limits: brakes.Limits = brakes.NONE,
) -> Plan:
    """As `assign`, with what became of the scalings on the way."""
    scalings = brakes.limit_shrinking(view.services, scalings, limits.disruption_gpus_per_hour, now)
    resolver = resolving.Resolver(view)
    pods = promises.PodsByOwner(view.pods)
    services = [
        (service, _assign_service(service, view, resolver, pods, scalings)) for service in view.services
    ]
    books = booking.Books(view)
    lacking = books.book_all([*promises.of_services(services, pods), *promises.of_jobs(view.jobs, pods)])
    services = list(surge.grant(services, books, pods, lacking))
    starting = brakes.Surge(services, pods, limits.surge_gpus)
    scaled = list(growth.grant(services, books, scalings, lacking, starting))
    jobs = _assign_jobs(view, resolver, books, pods)
    changes = (
        *(changed for one in scaled if (changed := growth.find_change(*one, now)) is not None),
        *(_changed(training_job.KIND, one, value) for one, value in jobs if _differs(one, value)),
    )
    return Plan(changes, {one.metadata.uid: scaling for one, _, scaling in scaled if scaling is not None})


def _differs(subject: training_job.TrainingJob, value: training_job.JobAssignment) -> bool:
    return value != subject.status.assignment


def _assign_service(
    service: triton_service.TritonService,
    view: snapshot.Snapshot,
    resolver: resolving.Resolver,
    pods: promises.PodsByOwner,
    scalings: Mapping[str, scaler.Scaling],
) -> triton_service.ServiceAssignment:
    before = service.status.assignment
    replicas = service.spec.replicas
    if replicas is None:
        replicas = counting.find_replicas(service, view)
    scaling = scalings.get(service.metadata.uid)
    if scaling is not None and scaling.mode == "Active":
        # What goes, goes before anything is given: growth waits until all that is promised is booked.
        replicas = min(scaling.before, scaling.replicas)
    assigned, refusal = _resolve(before, service.spec.accelerator, resolver)
    request, extra = surge.keep(service, pods)
    return triton_service.ServiceAssignment(
        replicas=replicas,
        accelerator=assigned,
        requested=resolving.describe(service.spec.accelerator),
        reason=refusal.reason if refusal else "",
        message=refusal.message if refusal else "",
        rollout=request,
        surge=extra,
    )


def _resolve(
    before: triton_service.ServiceAssignment | training_job.JobAssignment | None,
    block: accelerators.Accelerator | None,
    resolver: resolving.Resolver,
    *,
    whole_devices: bool = False,
) -> tuple[accelerators.AssignedAccelerator | None, resolving.Refusal | None]:
    """What was chosen before for the same block, else what the fleet offers now."""
    if block is None:
        return None, None
    if before and before.accelerator and resolving.answers(before, block):
        return before.accelerator, None
    found = resolver.resolve(block, whole_devices=whole_devices)
    return (None, found) if isinstance(found, resolving.Refusal) else (found, None)


def _assign_jobs(
    view: snapshot.Snapshot,
    resolver: resolving.Resolver,
    books: booking.Books,
    pods: promises.PodsByOwner,
) -> Iterator[tuple[training_job.TrainingJob, training_job.JobAssignment]]:
    """Gangs whose assignment was lost first, since they run; then in the order of their creation."""
    undecided = [job for job in view.jobs if not outcome.is_finished(job) and not _is_admitted(job)]
    running = [job for job in undecided if view.live_workers.get(job.metadata.uid)]
    waiting = [job for job in undecided if not view.live_workers.get(job.metadata.uid)]
    for job in running:
        owner = (names.JOB_LABEL, job.metadata.namespace, job.metadata.name)
        workers = view.live_workers[job.metadata.uid]
        yield job, _restore(job, workers, resolver, books, pods.of(owner))
    for job in sorted(waiting, key=_queue_position):
        yield job, _admit(job, resolver, books)


def _queue_position(job: training_job.TrainingJob) -> tuple[float, str, str]:
    created = job.metadata.creation_timestamp
    return (created.timestamp() if created else 0.0, job.metadata.namespace, job.metadata.name)


def _is_admitted(job: training_job.TrainingJob) -> bool:
    return job.status.assignment is not None and job.status.assignment.workers > 0


def _resolve_worker(
    job: training_job.TrainingJob, resolver: resolving.Resolver
) -> tuple[accelerators.AssignedAccelerator | None, resolving.Refusal | None]:
    """A gang that exchanges gradients gets no slices, which have no peer-to-peer transport.

    While it waits, it may follow the fleet: no pod template holds what was chosen before.
    """
    is_gang = job.spec.framework != "Plain" and job.spec.workers.max > 1
    return _resolve(None, job.spec.accelerator, resolver, whole_devices=is_gang)


def _refused(job: training_job.TrainingJob, reason: str, message: str) -> training_job.JobAssignment:
    requested = resolving.describe(job.spec.accelerator)
    return training_job.JobAssignment(workers=0, requested=requested, reason=reason, message=message)


def _restore(
    job: training_job.TrainingJob,
    workers: int,
    resolver: resolving.Resolver,
    books: booking.Books,
    pods: Sequence[fleet.Pod],
) -> training_job.JobAssignment:
    """The size of the gang as it runs."""
    assigned, refusal = _resolve_worker(job, resolver)
    if refusal:
        return _refused(job, refusal.reason, refusal.message)
    restored = training_job.JobAssignment(
        workers=workers,
        accelerator=assigned,
        requested=resolving.describe(job.spec.accelerator),
    )
    if assigned:
        books.book(assigned, promises.count_missing(job, restored, pods))
    return restored


def _admit(
    job: training_job.TrainingJob, resolver: resolving.Resolver, books: booking.Books
) -> training_job.JobAssignment:
    """As many workers as fit now, if the smallest gang does."""
    requested = resolving.describe(job.spec.accelerator)
    largest = job.spec.workers.max
    smallest = job.spec.workers.min or largest
    assigned, refusal = _resolve_worker(job, resolver)
    if refusal:
        return _refused(job, refusal.reason, refusal.message)
    if assigned is None:
        return training_job.JobAssignment(workers=largest, requested=requested)
    room = books.count_room(assigned, largest)
    if room < smallest:
        waiting = _refused(job, reasons.INSUFFICIENT_CAPACITY, books.explain(assigned, smallest))
        return waiting.model_copy(update={"accelerator": assigned})
    books.book(assigned, room)
    return training_job.JobAssignment(workers=room, accelerator=assigned, requested=requested)


def _changed(
    kind: str,
    subject: triton_service.TritonService | training_job.TrainingJob,
    value: triton_service.ServiceAssignment | training_job.JobAssignment,
) -> assignments.Assignment:
    metadata = subject.metadata
    return assignments.Assignment(kind, metadata.namespace, metadata.name, metadata.uid, value.to_wire())
