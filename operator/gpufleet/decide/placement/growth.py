"""Servers that the load asks for, as far as the fleet has room for them.

Last of all clamps: what is promised already is booked before, so that growth takes nothing from anyone.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping

from gpufleet.api import accelerator as accelerators
from gpufleet.api import autoscaling, triton_service
from gpufleet.decide.autoscaling import memories, policy, record, scaler
from gpufleet.decide.placement import booking, brakes, nodes, promises
from gpufleet.state import assignment as assignments
from gpufleet.state import decision

Given = tuple[triton_service.TritonService, triton_service.ServiceAssignment]
Scaled = tuple[triton_service.TritonService, triton_service.ServiceAssignment, "scaler.Scaling | None"]
_WARNS = (
    scaler.NO_ROOM,
    scaler.AT_MAXIMUM,
    scaler.INVENTORY_UNKNOWN,
    policy.NO_EVIDENCE,
    memories.PODS_OVERDUE,
)


def grant(
    services: Iterable[Given],
    books: booking.Books,
    scalings: Mapping[str, scaler.Scaling],
    lacking: Mapping[promises.Owner, int],
    starting: brakes.Surge,
) -> Iterator[Scaled]:
    """Each service with what it grows by; in Advisory the room is looked at and not taken."""
    services = list(services)
    coming = nodes.Coming(services, books, lacking)
    for service, given in services:
        scaling = scalings.get(service.metadata.uid)
        if scaling is None or scaling.replicas <= scaling.before:
            yield service, given, scaling
            continue
        if given.accelerator is not None:
            lacks = lacking.get(promises.owner_of(service), 0)
            scaling = _clamp_to_room(scaling, given.accelerator, books, coming, lacks)
        if scaling.mode == "Active":
            more = starting.take(given.accelerator, scaling.replicas - scaling.before)
            scaling = scaling.clamp(scaler.SURGE_LIMIT, scaling.before + more, starting.describe())
            given = given.model_copy(
                update={"replicas": max(given.replicas, scaling.before, scaling.replicas)}
            )
        yield service, given, scaling


def _clamp_to_room(
    scaling: scaler.Scaling,
    assigned: accelerators.AssignedAccelerator,
    books: booking.Books,
    coming: nodes.Coming,
    lacks: int,
) -> scaler.Scaling:
    """What is free now, and then what nodes that are still to come will have."""
    more = scaling.replicas - scaling.before
    room = 0
    if lacks <= 0:
        room = (books.book if scaling.mode == "Active" else books.count_room)(assigned, more)
    if room == more:
        return scaling
    later = coming.take(assigned, more - room)
    needs = f"{more} more servers need {assigned.count} × {assigned.resource} each"
    if later is None:
        message = f"{needs}; no node of pool {assigned.pool} tells what it offers: one server at a time"
        return scaling.clamp(scaler.INVENTORY_UNKNOWN, scaling.before + max(room, int(lacks <= 0)), message)
    to_come = f" and nodes to come for {later}" if later else ""
    message = f"{needs}, and the fleet has room for {room}{to_come}: add nodes, or free some"
    return scaling.clamp(scaler.NO_ROOM, scaling.before + room + later, message)


def find_change(
    service: triton_service.TritonService,
    given: triton_service.ServiceAssignment,
    scaling: scaler.Scaling | None,
    now: datetime.datetime,
) -> assignments.Assignment | None:
    """What is to be written; None where nothing changes."""
    before = service.status.autoscaling
    told = record.build_status(before, scaling, now) if scaling else _keep(service)
    if given == service.status.assignment and told == before:
        return None
    metadata = service.metadata
    return assignments.Assignment(
        kind=triton_service.KIND,
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        value=given.to_wire(),
        autoscaling=told.to_wire() if told else None,
        events=tuple(_tell(before, told)),
    )


def _keep(service: triton_service.TritonService) -> autoscaling.AutoscalingStatus | None:
    """The record of a service that is not decided about now: it stays until its mode is Off."""
    spec = service.spec.autoscaling
    return service.status.autoscaling if spec and spec.mode != "Off" else None


def _tell(
    before: autoscaling.AutoscalingStatus | None, after: autoscaling.AutoscalingStatus | None
) -> Iterator[decision.Event]:
    """One Event per new decision, but none that says that all is well."""
    if after is None or not after.decisions:
        return
    newest = after.decisions[0]
    is_old = before is not None and bool(before.decisions) and before.decisions[0] == newest
    if is_old or newest.reason in (scaler.STEADY, scaler.AWAITING_SAMPLES):
        return
    advisory = "would be: " if after.mode == "Advisory" else ""
    kind = "Warning" if newest.reason in _WARNS else "Normal"
    yield decision.Event(kind, newest.reason, advisory + newest.message)  # type: ignore[arg-type]
