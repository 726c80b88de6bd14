"""What every kind's status has in common: three conditions, and Events where the main one changes."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from gpufleet.api import meta, reasons
from gpufleet.state import conditions, decision


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """How an object is: its main condition, and why it is not settled or cannot settle, if so."""

    is_well: bool | None
    reason: str
    message: str
    reconciling: tuple[str, str] | None = None
    stalled: tuple[str, str] | None = None


def build_conditions(
    metadata: meta.ObjectMeta,
    old: Sequence[meta.Condition],
    main_type: str,
    verdict: Verdict,
    now: datetime.datetime,
) -> list[meta.Condition]:
    """The main condition, Reconciling and Stalled (kstatus), with transition times kept from `old`."""

    def make(type_: str, status: bool | None, reason: str, message: str) -> meta.Condition:
        return conditions.condition(type_, status, reason, message, generation=metadata.generation, now=now)

    moving = verdict.reconciling
    stuck = verdict.stalled
    new = [
        make(main_type, verdict.is_well, verdict.reason, verdict.message),
        make(reasons.RECONCILING, moving is not None, *(moving or (reasons.SETTLED, ""))),
        make(reasons.STALLED, stuck is not None, *(stuck or (reasons.SETTLED, ""))),
    ]
    return conditions.merge(old, new)


def stalled(
    metadata: meta.ObjectMeta,
    old: Sequence[meta.Condition],
    main_type: str,
    reason: str,
    message: str,
    now: datetime.datetime,
) -> Mapping[str, Any]:
    """The conditions of an object that cannot proceed; what ran keeps running, so what was decided stays."""
    verdict = keep_decided(old, main_type) or Verdict(_undecided(main_type), reason, message)
    stuck = dataclasses.replace(verdict, stalled=(reason, message))
    new = build_conditions(metadata, old, main_type, stuck, now)
    return {"observedGeneration": metadata.generation, "conditions": [one.to_wire() for one in new]}


def keep_decided(old: Sequence[meta.Condition], main_type: str) -> Verdict | None:
    """The main condition as it was, where it still holds: a service that serves, a job that has ended."""
    before = {condition.type: condition for condition in old}.get(main_type)
    if before is None or before.status == "Unknown":
        return None
    if before.status == "False" and main_type != reasons.SUCCEEDED:
        return None
    return Verdict(before.status == "True", before.reason, before.message)


def _undecided(main_type: str) -> bool | None:
    """A job that cannot proceed has not failed."""
    return None if main_type == reasons.SUCCEEDED else False


def events_of_change(
    old: Sequence[meta.Condition], new: Sequence[meta.Condition]
) -> tuple[decision.Event, ...]:
    """One Event for the main condition and one for Stalled, where status or reason changed."""
    before = {condition.type: (condition.status, condition.reason) for condition in old}
    return tuple(
        _event(condition)
        for condition in new
        if condition.type != reasons.RECONCILING
        and before.get(condition.type) != (condition.status, condition.reason)
        and condition.reason != reasons.SETTLED
    )


def _event(condition: meta.Condition) -> decision.Event:
    is_bad = condition.type == reasons.STALLED or condition.reason in _WARNINGS
    return decision.Event("Warning" if is_bad else "Normal", condition.reason, condition.message)


_WARNINGS = frozenset(
    {
        reasons.MODEL_LOAD_FAILED,
        reasons.PODS_UNSCHEDULABLE,
        reasons.IMAGE_PULL_FAILED,
        reasons.CONTAINER_CRASHING,
        reasons.MOUNT_FAILED,
        reasons.INSUFFICIENT_MEMORY,
        reasons.NO_MATCHING_ACCELERATOR,
        reasons.MIG_NOT_SUPPORTED,
        reasons.UNKNOWN_DEVICE_CLASS,
        reasons.RESTARTS_EXHAUSTED,
        reasons.ATTEMPTS_EXHAUSTED,
        reasons.USER_ERROR,
        reasons.OUT_OF_MEMORY,
        reasons.DEADLINE_EXCEEDED,
        reasons.INSUFFICIENT_CAPACITY,
        reasons.EXCEEDS_FLEET,
        reasons.TOPOLOGY_UNSATISFIABLE,
        reasons.PLACES_LOST,
        reasons.PREEMPTED,
    }
)


FIRST_LOOK_S = 10.0
"""How long the fleet cycle may take to look at a new object before its status says that it waits."""


def is_new(metadata: meta.ObjectMeta, now: datetime.datetime) -> bool:
    """Whether the object is so young that waiting for its first assignment is not worth a write."""
    created = metadata.creation_timestamp
    return created is not None and (now - created).total_seconds() < FIRST_LOOK_S
