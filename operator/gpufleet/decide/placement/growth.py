"""Servers that the load asks for, as far as the fleet has room for them.

Last of all clamps: what is promised already is booked before, so that growth takes nothing from anyone.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping

from gpufleet.api import autoscaling, triton_service
from gpufleet.decide.autoscaling import scaler
from gpufleet.decide.placement import booking, promises
from gpufleet.state import assignment as assignments
from gpufleet.state import decision

Given = tuple[triton_service.TritonService, triton_service.ServiceAssignment]
Scaled = tuple[triton_service.TritonService, triton_service.ServiceAssignment, "scaler.Scaling | None"]
_WARNS = (scaler.NO_ROOM, scaler.AT_MAXIMUM, "NoEvidence")


def grant(
    services: Iterable[Given],
    books: booking.Books,
    scalings: Mapping[str, scaler.Scaling],
    lacking: Mapping[promises.Owner, int],
) -> Iterator[Scaled]:
    """Each service with what it grows by; in Advisory the room is looked at and not taken."""
    for service, given in services:
        scaling = scalings.get(service.metadata.uid)
        if scaling is None or scaling.replicas <= scaling.before:
            yield service, given, scaling
            continue
        more = scaling.replicas - scaling.before
        if given.accelerator is not None:
            lacks = lacking.get(promises.owner_of(service), 0)
            room = 0 if lacks > 0 else _find_room(scaling, books, given, more)
            scaling = scaling.clamp(
                scaler.NO_ROOM,
                scaling.before + room,
                f"{more} more servers need {given.accelerator.count} × {given.accelerator.resource} each, "
                f"and the fleet has room for {room}: add nodes, or free some",
            )
        if scaling.mode == "Active":
            given = given.model_copy(update={"replicas": scaling.replicas})
        yield service, given, scaling


def _find_room(
    scaling: scaler.Scaling, books: booking.Books, given: triton_service.ServiceAssignment, more: int
) -> int:
    if given.accelerator is None:
        return more
    if scaling.mode == "Active":
        return books.book(given.accelerator, more)
    return books.count_room(given.accelerator, more)


def find_change(
    service: triton_service.TritonService,
    given: triton_service.ServiceAssignment,
    scaling: scaler.Scaling | None,
    now: datetime.datetime,
) -> assignments.Assignment | None:
    """What is to be written; None where nothing changes."""
    before = service.status.autoscaling
    record = scaler.build_status(before, scaling, now) if scaling else _keep(service)
    if given == service.status.assignment and record == before:
        return None
    metadata = service.metadata
    return assignments.Assignment(
        kind=triton_service.KIND,
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        value=given.to_wire(),
        autoscaling=record.to_wire() if record else None,
        events=tuple(_tell(before, record)),
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
