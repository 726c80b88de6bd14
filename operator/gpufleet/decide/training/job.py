"""TrainingJob → one Indexed Job per attempt of its gang, and status.

An attempt goes through three kinds of pass: its Job is applied; its end is recorded in status; and only what
is recorded is acted on, by another attempt or the end of the job. So an operator that dies in between counts
nothing twice and forgets nothing. The next attempt waits until no pod of an earlier one holds anything.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from gpufleet import settings
from gpufleet.api import reasons, training_job, training_record
from gpufleet.decide import status as statuses
from gpufleet.decide.training import (
    attempt,
    endings,
    history,
    layout,
    lifecycle,
    outcome,
    precision,
    progress,
    resize,
    retry,
    verdicts,
)
from gpufleet.state import children, decision, view

KEPT_ATTEMPTS = lifecycle.KEPT_ATTEMPTS


@dataclasses.dataclass(frozen=True)
class _Step:
    """What one pass comes to, before it is put into status."""

    verdict: statuses.Verdict
    apply: tuple[Mapping[str, Any], ...] = ()
    scale: Mapping[children.ChildRef, int] = dataclasses.field(default_factory=dict)
    attempt: int | None = None
    account: history.Account | None = None
    again_s: float | None = None
    events: tuple[decision.Event, ...] = ()


def decide(view: view.JobView, defaults: settings.Settings, now: datetime.datetime) -> decision.Decision:
    """What this job needs now; `defaults` has nothing for jobs. Nothing is made for one that has ended."""
    job = view.job
    if lifecycle.is_foreign(job):
        return decision.Decision(_read_status(view, None), keep=frozenset(one.ref for one in view.children))
    newest = outcome.find_newest(view.children)
    ended = statuses.keep_decided(job.status.conditions, reasons.SUCCEEDED)
    if ended:
        kept, again_s = lifecycle.find_kept_after_end(view, newest, now)
        decided = _report(view, newest, _Step(ended, again_s=again_s), now)
        return dataclasses.replace(decided, keep=kept)
    if newest and history.find_record(job, outcome.read_attempt(newest)) is None:
        return _report(view, newest, _follow(view, newest, now), now)
    if _is_unseen(job, now):
        kept = lifecycle.find_kept(view, newest)
        return decision.Decision(job.status.to_wire(), keep=kept, requeue_after_s=statuses.FIRST_LOOK_S)
    return _report(view, newest, _go_on(view, now), now)


def _is_unseen(job: training_job.TrainingJob, now: datetime.datetime) -> bool:
    """Of a job that just came, that it waits is not worth a write."""
    is_new = job.status.assignment is None and statuses.is_new(job.metadata, now)
    return is_new and not job.spec.suspend


def _follow(view: view.JobView, newest: children.Child, now: datetime.datetime) -> _Step:
    """An attempt that has no end in status yet."""
    workers = int(newest.body["spec"].get("parallelism", 0))
    rendezvous = attempt.build_rendezvous(view.job, workers)
    ending = endings.find(view, newest, now)
    if ending is None or ending.wait_s:
        again_s = ending.wait_s if ending else endings.find_next_look_s(view, newest, now)
        size = resize.find_size(view, newest) if ending is None else None
        scale = {} if size is None else {newest.ref: size}
        return _Step(verdicts.judge_running(view, newest), rendezvous, scale=scale, again_s=again_s)
    account = history.record(view.job, newest, ending)
    entry = account.records[0]
    if entry.ended_by == "Completed":
        return _Step(verdicts.judge_success(entry.attempt), rendezvous, account=account)
    if entry.ended_by == "Suspended":
        return _Step(verdicts.judge_suspended(is_ending=True), rendezvous, account=account)
    if entry.ended_by in (*reasons.TAKEN_BACK, "Resized"):
        return _Step(verdicts.judge_taken_back(entry, is_ending=True), rendezvous, account=account)
    told = (decision.Event("Warning", entry.ended_by, verdicts.tell(entry)),)
    if final := retry.find_final(view.job, account):
        return _Step(statuses.Verdict(False, *final), account=account, events=told)
    verdict = verdicts.judge_restart(entry, "waiting for its workers to end")
    return _Step(verdict, rendezvous, account=account, events=told)


def _go_on(view: view.JobView, now: datetime.datetime) -> _Step:
    """No attempt runs that has not been told to end: the next one starts, or waits for something."""
    job, is_ending = view.job, lifecycle.is_ending(view)
    last = job.status.history[0] if job.status.history else None
    given = job.status.assignment.workers if job.status.assignment else 0
    left_s, due = attempt.find_time_left_s(job), retry.find_due(job)
    if job.spec.suspend:
        return _Step(verdicts.judge_suspended(is_ending=is_ending))
    if left_s is not None and left_s <= 0:
        message = "no time of activeDeadlineSeconds is left for another attempt"
        return _Step(statuses.Verdict(False, reasons.DEADLINE_EXCEEDED, message))
    if given == 0:
        if last is not None and last.ended_by in reasons.TAKEN_BACK and _was_taken_back(job):
            return _Step(verdicts.judge_taken_back(last, is_ending=is_ending))
        return _Step(verdicts.judge_waiting(job))
    if is_ending:
        return _Step(verdicts.judge_restart(last, "waiting for its workers to end"))
    if due is not None and last is not None and last.end_time <= now < due:
        wait_s = int((due - last.end_time).total_seconds())
        verdict = verdicts.judge_restart(last, f"the next attempt starts {wait_s} s after it ended")
        return _Step(verdict, again_s=(due - now).total_seconds())
    return _start(view, given, now, last)


def _was_taken_back(job: training_job.TrainingJob) -> bool:
    """Until the cycle has looked at the gang again."""
    given = job.status.assignment
    return given is not None and given.reason in reasons.TAKEN_BACK


def _start(
    view: view.JobView, given: int, now: datetime.datetime, last: training_record.AttemptRecord | None
) -> _Step:
    job, number = view.job, history.next_attempt(view.job)
    per_worker = max(1, history.count_devices(job))
    workers = layout.count_workers(job, given, per_worker)
    if mismatch := layout.find_mismatch(job, workers, per_worker):
        return _Step(verdicts.judge_mismatch(mismatch))
    manifests = attempt.build(view, workers, number, now)
    return _Step(verdicts.judge_start(last), manifests, attempt=number, events=tuple(_tell_precision(job)))


def _tell_precision(job: training_job.TrainingJob) -> list[decision.Event]:
    """Said when a gang starts: only then is it known where."""
    assigned = job.status.assignment.accelerator if job.status.assignment else None
    found = precision.find_warning(job, assigned)
    return [decision.Event("Warning", reasons.PRECISION_NOT_NATIVE, found)] if found else []


def _report(
    view: view.JobView, newest: children.Child | None, step: _Step, now: datetime.datetime
) -> decision.Decision:
    job = view.job
    old = job.status.conditions
    conditions = statuses.build_conditions(job.metadata, old, reasons.SUCCEEDED, step.verdict, now)
    has_ended = step.verdict.is_well is not None
    status = _read_status(view, newest) | {
        "observedGeneration": job.metadata.generation,
        "conditions": [one.to_wire() for one in conditions],
    }
    if has_ended and "completionTime" not in status:
        end = step.account.records[0].end_time if step.account else now.replace(microsecond=0)
        status["completionTime"] = end.isoformat().replace("+00:00", "Z")
    if step.attempt is not None:
        status["attempt"] = step.attempt
    status |= progress.build_status(view, newest, has_ended=step.account is not None)
    if step.account is not None:
        status |= _write_account(step.account)
    return decision.Decision(
        status=status,
        apply=step.apply,
        scale=step.scale,
        keep=lifecycle.find_kept(view, newest),
        events=(*step.events, *statuses.events_of_change(old, conditions)),
        requeue_after_s=step.again_s,
    )


def _write_account(account: history.Account) -> dict[str, Any]:
    return {
        "history": [one.to_wire() for one in account.records],
        "failures": account.failures.to_wire(),
        "usage": account.usage.to_wire(),
    }


def _read_status(view: view.JobView, newest: children.Child | None) -> dict[str, Any]:
    """Counts and times; those of a Job that is gone stay as they were."""
    job = view.job
    status = job.status.model_copy(update={"assignment": None}).to_wire()
    if newest is None:
        return status | {"activeWorkers": 0}
    started = status.get("startTime") or outcome.read_time(newest, "startTime")
    counts = {
        "attempt": max(job.status.attempt, outcome.read_attempt(newest)),
        "activeWorkers": outcome.read_count(newest, "active"),
        "succeededWorkers": outcome.read_count(newest, "succeeded"),
    }
    return status | counts | ({"startTime": started} if started else {})
