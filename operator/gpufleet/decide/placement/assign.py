"""The fleet cycle's decision: replicas and accelerator for every service, admission for every gang.

Gangs are all or none: one is admitted when its smallest size fits into what is free now, counted node by
node, after everything that is assigned already but whose pods are not there yet. What is admitted stays.
"""

from __future__ import annotations

from collections.abc import Iterator

from gpufleet.api import accelerator as accelerators
from gpufleet.api import reasons, training_job, triton_service
from gpufleet.decide.placement import accelerators as resolving
from gpufleet.decide.placement import booking
from gpufleet.decide.training import outcome
from gpufleet.state import assignment as assignments
from gpufleet.state import snapshot


def assign(view: snapshot.Snapshot) -> tuple[assignments.Assignment, ...]:
    """Every assignment that differs from the one the object has."""
    books = booking.Books.of(view)
    return (*_assign_services(view), *_assign_jobs(view, books))


def _assign_services(view: snapshot.Snapshot) -> Iterator[assignments.Assignment]:
    for service in view.services:
        value = _assign_service(service, view)
        if value != service.status.assignment:
            yield _changed(triton_service.KIND, service, value)


def _assign_service(
    service: triton_service.TritonService, view: snapshot.Snapshot
) -> triton_service.ServiceAssignment:
    before = service.status.assignment
    replicas = service.spec.replicas
    if replicas is None:
        replicas = before.replicas if before else view.live_replicas.get(service.metadata.uid, 1)
    assigned, refusal = _resolve(before, service.spec.accelerator, view)
    return triton_service.ServiceAssignment(
        replicas=replicas,
        accelerator=assigned,
        requested=resolving.describe(service.spec.accelerator),
        reason=refusal.reason if refusal else "",
        message=refusal.message if refusal else "",
    )


def _resolve(
    before: triton_service.ServiceAssignment | training_job.JobAssignment | None,
    block: accelerators.Accelerator | None,
    view: snapshot.Snapshot,
) -> tuple[accelerators.AssignedAccelerator | None, resolving.Refusal | None]:
    """What was chosen before for the same block, else what the fleet offers now."""
    if block is None:
        return None, None
    if before and before.accelerator and resolving.answers(before, block):
        return before.accelerator, None
    found = resolving.resolve(block, view)
    return (None, found) if isinstance(found, resolving.Refusal) else (found, None)


def _assign_jobs(view: snapshot.Snapshot, books: booking.Books) -> Iterator[assignments.Assignment]:
    waiting = [job for job in view.jobs if not outcome.is_finished(job) and not _is_admitted(job)]
    for job in sorted(waiting, key=_queue_position):
        value = _admit(job, view, books)
        if value != job.status.assignment:
            yield _changed(training_job.KIND, job, value)


def _queue_position(job: training_job.TrainingJob) -> tuple[float, str, str]:
    created = job.metadata.creation_timestamp
    return (created.timestamp() if created else 0.0, job.metadata.namespace, job.metadata.name)


def _is_admitted(job: training_job.TrainingJob) -> bool:
    return job.status.assignment is not None and job.status.assignment.workers > 0


def _admit(
    job: training_job.TrainingJob, view: snapshot.Snapshot, books: booking.Books
) -> training_job.JobAssignment:
    requested = resolving.describe(job.spec.accelerator)
    largest = job.spec.workers.max
    smallest = job.spec.workers.min or largest
    assigned, refusal = _resolve(job.status.assignment, job.spec.accelerator, view)
    if refusal:
        return training_job.JobAssignment(
            workers=0, requested=requested, reason=refusal.reason, message=refusal.message
        )
    if live := view.live_workers.get(job.metadata.uid):
        return training_job.JobAssignment(workers=live, accelerator=assigned, requested=requested)
    if assigned is None:
        return training_job.JobAssignment(workers=largest, requested=requested)
    room = books.count_room(assigned, largest)
    if room < smallest:
        return training_job.JobAssignment(
            workers=0,
            accelerator=assigned,
            requested=requested,
            reason=reasons.INSUFFICIENT_CAPACITY,
            message=books.explain(assigned, smallest),
        )
    books.book(assigned, room)
    return training_job.JobAssignment(workers=room, accelerator=assigned, requested=requested)


def _changed(
    kind: str,
    subject: triton_service.TritonService | training_job.TrainingJob,
    value: triton_service.ServiceAssignment | training_job.JobAssignment,
) -> assignments.Assignment:
    metadata = subject.metadata
    return assignments.Assignment(kind, metadata.namespace, metadata.name, metadata.uid, value.to_wire())
