"""The fleet cycle's decision: replicas and accelerator for every service, admission for every gang.

Everything is booked that is assigned already but whose pods are not there yet; then servers grow, then gangs
are admitted.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Iterator, Mapping

from gpufleet.api import accelerator as accelerators
from gpufleet.api import reasons, training_job, triton_service
from gpufleet.decide.autoscaling import memories as counting
from gpufleet.decide.autoscaling import scaler
from gpufleet.decide.placement import accelerators as resolving
from gpufleet.decide.placement import booking, brakes, disruption, growth, promises, surge
from gpufleet.decide.placement.gangs import admission, lines, waiting
from gpufleet.decide.placement.gangs import order as orders
from gpufleet.decide.placement.slices import choosing
from gpufleet.state import assignment as assignments
from gpufleet.state import snapshot


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What is to be written, and the scalings that led to it, by UID: with the clamps of the fleet."""

    assignments: tuple[assignments.Assignment, ...]
    scalings: Mapping[str, scaler.Scaling]
    queue: waiting.Queue = dataclasses.field(default_factory=waiting.Queue)
    """Gangs that wait, the next one first."""


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
    ledger: disruption.Ledger | None = None,
    moves: Mapping[str, choosing.Move] | None = None,
    kept: lines.Lines | None = None,
) -> Plan:
    """As `assign`, with what became of the scalings on the way; without a `ledger` the view's is read.

    `moves` are of services that get another accelerator, by UID. `kept` are the lines of the last pass, which
    this one brings up to date; it decides the same without.
    """
    kept = lines.Lines() if kept is None else kept
    kept.follow(view.jobs, orders.ByPriority(view))
    known = ledger or disruption.read(view, limits.disruption_gpus_per_hour, now)
    scalings, known = disruption.limit_shrinking(view.services, scalings, known, now)
    resolver = resolving.Resolver(view)
    pods = promises.PodsByOwner(view.pods)
    services = [
        (service, _move(service, _assign_service(service, view, resolver, pods, scalings), moves or {}))
        for service in view.services
    ]
    books = booking.Books(view)
    gangs = admission.Admission(view, kept, resolver, books, pods, limits, known.left_gpus, now)
    gangs.settle()
    lacking = books.book_all(promises.of_services(services, pods))
    services = list(surge.grant(services, books, pods, lacking))
    starting = brakes.Surge(services, pods, limits.surge_gpus)
    scaled = list(growth.grant(services, books, scalings, lacking, starting))
    jobs = gangs.admit()
    changes = (
        *(changed for one in scaled if (changed := growth.find_change(*one, now)) is not None),
        *_rank(assignments.TAKEN, jobs.taken),
        *_rank(assignments.GIVEN, jobs.given),
        *_rank(assignments.TOLD, jobs.told),
    )
    scalings = {one.metadata.uid: scaling for one, _, scaling in scaled if scaling is not None}
    return Plan(changes, scalings, gangs.queue)


def _rank(
    rank: int, jobs: Iterable[tuple[training_job.TrainingJob, training_job.JobAssignment]]
) -> Iterator[assignments.Assignment]:
    """Those that differ from what the gang has."""
    for job, value in jobs:
        if value is not job.status.assignment and value != job.status.assignment:
            about, version = job.metadata, job.metadata.resource_version
            yield assignments.Assignment(
                training_job.KIND,
                about.namespace,
                about.name,
                about.uid,
                value.to_wire(),
                resource_version=version if value.reason in reasons.TAKING else "",
                rank=rank,
            )


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


def _move(
    service: triton_service.TritonService,
    given: triton_service.ServiceAssignment,
    moves: Mapping[str, choosing.Move],
) -> triton_service.ServiceAssignment:
    """With another slice: as many servers as carry the load there, and no fewer than before."""
    move = moves.get(service.metadata.uid)
    if move is None or given.accelerator is None:
        return given
    return given.model_copy(
        update={"accelerator": move.accelerator, "replicas": max(given.replicas, move.servers)}
    )


def _resolve(
    before: triton_service.ServiceAssignment | None,
    block: accelerators.Accelerator | None,
    resolver: resolving.Resolver,
) -> tuple[accelerators.AssignedAccelerator | None, resolving.Refusal | None]:
    """What was chosen before for the same block, else what the fleet offers now."""
    if block is None:
        return None, None
    if before and before.accelerator and resolving.answers(before, block):
        return before.accelerator, None
    found = resolver.resolve(block)
    return (None, found) if isinstance(found, resolving.Refusal) else (found, None)
