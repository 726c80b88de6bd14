"""What follows from a job's reports: a stall, what status keeps, and when it may be done.

Status holds what a decision rests on, the newest checkpoint, and not every step; the read API has the rest.
"""

from __future__ import annotations

import datetime
from typing import Any

from gpufleet.api import training_record
from gpufleet.decide.training import failure
from gpufleet.state import children, fleet, names, progress, view

WRITTEN_EVERY_S = 60
"""A job may write checkpoints as often as it likes; status tells of them so often at most."""


def find_leader(view: view.JobView, newest: children.Child) -> fleet.Pod | None:
    """Worker 0 of an attempt, which reports for all."""
    workers = failure.pods_of(view, newest)
    return next((one for one in workers if one.labels.get(names.COMPLETION_INDEX_ANNOTATION) == "0"), None)


def find_left_s(view: view.JobView, newest: children.Child) -> float | None:
    """Seconds until the attempt counts as stalled; None where nobody asked, or its worker 0 does not run."""
    wanted, leader = view.job.spec.progress, find_leader(view, newest)
    if wanted is None or wanted.stall_seconds is None or leader is None:
        return None
    known = view.progress.get(leader.uid)
    if known is None or leader.phase != "Running":
        return None
    return wanted.stall_seconds - known.still_s


def read_stall(view: view.JobView, newest: children.Child) -> failure.Failure:
    """The failure of an attempt that does not go on."""
    leader, limit_s = find_leader(view, newest), view.job.spec.progress
    name = leader.name if leader else ""
    known = view.progress.get(leader.uid) if leader else None
    said = f"its last step was {known.newest.step}" if known and known.newest else "it has never answered"
    waited_s = limit_s.stall_seconds if limit_s else 0
    return failure.Failure("Stalled", f"{name} reported no new step for {waited_s} s: {said}", name)


def build_status(view: view.JobView, newest: children.Child | None, *, has_ended: bool) -> dict[str, Any]:
    """`status.progress` where it says something new: another checkpoint, or the end of an attempt."""
    leader = find_leader(view, newest) if newest else None
    known = view.progress.get(leader.uid) if leader else None
    if known is None or known.newest is None or known.reported_at is None:
        return {}
    before, said = view.job.status.progress, known.newest
    if before is not None and not has_ended:
        is_recent = (known.reported_at - before.reported_at).total_seconds() < WRITTEN_EVERY_S
        if is_recent or said.checkpoint_step == before.checkpoint_step:
            return {}
    told = training_record.Progress(
        step=said.step,
        total_steps=said.total_steps,
        checkpoint_step=said.checkpoint_step,
        checkpoint_time=said.checkpoint_at,
        reported_at=known.reported_at.replace(microsecond=0),
    )
    return {"progress": told.to_wire()}


def describe(known: progress.Progress, now: datetime.datetime) -> dict[str, Any]:
    """What the read API says: step, checkpoint with its age, and an estimate with its basis."""
    said = known.newest
    if said is None:
        return {"message": "no answer yet"}
    age = (now - said.checkpoint_at).total_seconds() if said.checkpoint_at else None
    told = {
        "step": said.step,
        "totalSteps": said.total_steps,
        "checkpointStep": said.checkpoint_step,
        "checkpointAgeSeconds": None if age is None else max(0, int(age)),
        **_estimate(known, said),
    }
    return {key: value for key, value in told.items() if value is not None}


def find_eta_s(known: progress.Progress) -> float | None:
    """Seconds for the steps that are left, at the rate of this attempt; None where that is not known."""
    said, rate = known.newest, _find_rate(known)
    if said is None or said.total_steps is None or rate is None:
        return None
    return max(0, said.total_steps - said.step) / rate


def _find_rate(known: progress.Progress) -> float | None:
    """Steps per second of this attempt so far."""
    if known.newest is None or known.first is None:
        return None
    took_s, done = known.moved_s - known.first_s, known.newest.step - known.first.step
    return done / took_s if took_s > 0 and done > 0 else None


def _estimate(known: progress.Progress, said: progress.Report) -> dict[str, Any]:
    """The steps that are left, at the rate of this attempt so far."""
    if said.total_steps is None or known.first is None:
        return {"message": "no estimate: the job does not report totalSteps"}
    rate, eta_s = _find_rate(known), find_eta_s(known)
    if rate is None or eta_s is None:
        return {"message": "no estimate: no step was seen to end yet"}
    left = max(0, said.total_steps - said.step)
    basis = f"{left} of {said.total_steps} steps left at {rate:.3g} per second, the rate of this attempt"
    return {"etaSeconds": round(eta_s), "message": basis}
