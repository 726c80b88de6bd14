"""Whether the newest attempt has ended, and how.

An attempt is over as soon as one worker is lost, not when the Job has noticed: no gang goes on without it.
"""

from __future__ import annotations

import dataclasses
import datetime
from typing import cast

from gpufleet.api import reasons, training_record
from gpufleet.decide.training import failure, mpi, outcome, progress, pulls, resize
from gpufleet.state import children, fleet, names, view

EVIDENCE_S = 5.0
"""How long a failed Job waits for the pod that failed to show in another watch."""


@dataclasses.dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended and when; `wait_s` where it has, but not all of it shows yet."""

    found: failure.Failure
    at: datetime.datetime
    wait_s: float | None = None


def find(view: view.JobView, newest: children.Child, now: datetime.datetime) -> Ending | None:
    """None while it goes on."""
    ended_at = _read_moment(outcome.read_end(newest)) or now
    broken = _find_interrupted(view, newest)
    if outcome.has_condition(newest, "Complete"):
        return Ending(broken or failure.Failure("Completed", ""), ended_at)
    if outcome.has_condition(newest, *outcome.FAILED):
        return _find_failure(view, newest, ended_at, now)
    if view.job.spec.suspend:
        return Ending(failure.Failure("Suspended", "spec.suspend is set"), now)
    if taken := _find_taken_back(view) or resize.find_ending(view, newest):
        return Ending(taken, now)
    found = broken or pulls.find(view, newest, now)[0]
    if found is not None:
        return Ending(found, now)
    left_s = progress.find_left_s(view, newest)
    return Ending(progress.read_stall(view, newest), now) if left_s is not None and left_s <= 0 else None


def find_next_look_s(view: view.JobView, newest: children.Child, now: datetime.datetime) -> float | None:
    """Seconds until time alone may end the attempt; None where only events can."""
    waits = (progress.find_left_s(view, newest), pulls.find(view, newest, now)[1])
    return min((one for one in waits if one is not None), default=None)


def _find_failure(
    view: view.JobView, newest: children.Child, ended_at: datetime.datetime, now: datetime.datetime
) -> Ending:
    if outcome.has_exceeded_deadline(newest):
        limit = view.job.spec.active_deadline_seconds
        message = f"it has run for activeDeadlineSeconds, {limit} s in all attempts"
        return Ending(failure.Failure("DeadlineExceeded", message), ended_at)
    tells = any(one.phase == "Failed" or one.interrupted for one in failure.pods_of(view, newest))
    known_for_s = (now - ended_at).total_seconds() if outcome.read_end(newest) else EVIDENCE_S
    wait_s = EVIDENCE_S - known_for_s if not tells and known_for_s < EVIDENCE_S else None
    return Ending(failure.classify(view, newest), ended_at, wait_s)


def _find_interrupted(view: view.JobView, newest: children.Child) -> failure.Failure | None:
    """A worker that was told to end before it was done; exit code 0 does not make that a success.

    None where a worker failed by itself: its Job will say so, and tells the others to end. What a queue takes
    back it deletes, and so does the Job of a leader that has succeeded.
    """
    workers = failure.pods_of(view, newest)
    if any(one.phase == "Failed" and one.interrupted is None for one in workers):
        return None
    if mpi.is_launched(view.job):
        leaders = [one for one in workers if one.labels.get(names.COMPLETION_INDEX_ANNOTATION) == "0"]
        if any(one.phase == "Succeeded" and one.interrupted is None for one in leaders):
            return None
    for one in sorted(workers, key=lambda one: one.name):
        if one.interrupted and not _is_expected(view, newest, one.interrupted):
            return failure.read_interruption(one, one.interrupted)
    return None


def _find_taken_back(view: view.JobView) -> failure.Failure | None:
    """The fleet cycle's word, which is about a gang that it has admitted."""
    given = view.job.status.assignment
    if given is None or given.workers or view.job.spec.queue or given.reason not in reasons.TAKEN_BACK:
        return None
    return failure.Failure(cast(training_record.EndedBy, given.reason), given.message)


def _is_expected(view: view.JobView, newest: children.Child, found: fleet.Interruption) -> bool:
    is_deletion = found.reason == fleet.DELETED
    return is_deletion and (view.job.spec.queue is not None or newest.is_deleting)


def _read_moment(text: str | None) -> datetime.datetime | None:
    return datetime.datetime.fromisoformat(text) if text else None
