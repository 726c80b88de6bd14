"""TrainingJob → one Indexed Job per attempt of its gang, and status.

The attempt is read off the Jobs that exist, so that an operator that restarts repeats nothing. A failed
Job stays for its logs; the next attempt waits until no pod of the failed one holds anything.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from gpufleet import settings
from gpufleet.api import reasons, training_job
from gpufleet.decide import diagnosis
from gpufleet.decide import status as statuses
from gpufleet.decide.placement import accelerators
from gpufleet.decide.resources import core, workloads
from gpufleet.decide.training import environment, layout, mpi, outcome, pod, precision
from gpufleet.state import children, decision, names, view

KEPT_ATTEMPTS = 3
"""Failed Jobs that stay for their logs, the newest included."""


def decide(view: view.JobView, defaults: settings.Settings, now: datetime.datetime) -> decision.Decision:
    """What this job needs now; `defaults` has nothing for jobs. Nothing is made for one that has ended."""
    job = view.job
    newest = outcome.find_newest(view.children)
    ended = statuses.keep_decided(job.status.conditions, reasons.SUCCEEDED)
    if ended and outcome.is_finished(job):
        return _report(view, newest, ended, now)
    if newest and not _may_restart(view, newest):
        workers = int(newest.body["spec"].get("parallelism", 0))
        return _report(view, newest, _judge_attempt(view, newest), now, apply=_rendezvous(view, workers))
    attempt = max(1, job.status.attempt, outcome.read_attempt(newest) + 1 if newest else 0)
    workers = job.status.assignment.workers if job.status.assignment else 0
    if job.status.assignment is None and statuses.is_new(job.metadata, now):
        kept = _find_kept(view, newest)
        return decision.Decision(job.status.to_wire(), keep=kept, requeue_after_s=statuses.FIRST_LOOK_S)
    if workers == 0:
        return _report(view, newest, _judge_waiting(job), now)
    if _pods_left(view, attempt):
        return _report(view, newest, _judge_orphans(attempt), now)
    per_worker = _count_devices(job)
    if mismatch := layout.find_mismatch(job, layout.count_workers(job, workers, per_worker), per_worker):
        return _report(view, newest, _judge_mismatch(mismatch), now)
    manifests = _build_attempt(view, layout.count_workers(job, workers, per_worker), attempt)
    return _report(view, newest, _judge_start(view, attempt, newest), now, attempt=attempt, apply=manifests)


def _count_devices(job: training_job.TrainingJob) -> int:
    """Devices of each worker; on the CPU one process counts as one."""
    assigned = job.status.assignment.accelerator if job.status.assignment else None
    return assigned.count if assigned else 1


def _judge_mismatch(message: str) -> statuses.Verdict:
    found = (reasons.WORLD_SIZE_MISMATCH, message)
    return statuses.Verdict(None, *found, stalled=found)


def _find_kept(view: view.JobView, newest: children.Child | None) -> frozenset[children.ChildRef]:
    """Everything but what belongs to attempts so long ago that nobody reads their logs."""
    oldest = outcome.read_attempt(newest) - KEPT_ATTEMPTS if newest else 0
    return frozenset(child.ref for child in view.children if not 0 < outcome.read_attempt(child) <= oldest)


def _may_restart(view: view.JobView, newest: children.Child) -> bool:
    """Whether the newest attempt has failed, another is allowed, and its pods hold nothing any more."""
    attempt = outcome.read_attempt(newest)
    failed = outcome.has_condition(newest, "Failed")
    allowed = attempt <= view.job.spec.failure_policy.max_restarts
    return failed and allowed and not _pods_left(view, attempt)


def _pods_left(view: view.JobView, attempt: int) -> bool:
    return any(
        one.labels.get(names.ATTEMPT_LABEL) == str(attempt) and not one.is_terminal for one in view.pods
    )


def _rendezvous(view: view.JobView, workers: int) -> tuple[Mapping[str, Any], ...]:
    """The headless Service under which workers find worker 0; a gang of one needs none."""
    if workers <= 1:
        return ()
    name, namespace = view.job.metadata.name, view.job.metadata.namespace
    ours = {names.JOB_LABEL: name}
    ports = {"rendezvous": environment.port(view.job)}
    return (core.build_service(name, namespace, ours, ours, ports, headless=True, before_ready=True),)


def _build_attempt(view: view.JobView, workers: int, attempt: int) -> tuple[Mapping[str, Any], ...]:
    job = view.job
    assigned = job.status.assignment.accelerator if job.status.assignment else None
    template = pod.build_template(job, workers, assigned, view.pool, attempt)
    labels = {names.JOB_LABEL: job.metadata.name, names.ATTEMPT_LABEL: str(attempt)}
    name = environment.job_name(job, attempt)
    launched = mpi.is_launched(job) and workers > 1
    manifest = workloads.build_indexed_job(
        name, job.metadata.namespace, labels, workers, template, leader_decides=launched
    )
    return (*_rendezvous(view, workers), *_build_hosts(job, workers, attempt), manifest)


def _build_hosts(job: training_job.TrainingJob, workers: int, attempt: int) -> tuple[Mapping[str, Any], ...]:
    """The hostfile of a gang that mpirun starts."""
    if workers == 1 or not mpi.is_launched(job):
        return ()
    hosts = [environment.host(job, attempt, index) for index in range(workers)]
    return (mpi.build_hosts(job, attempt, hosts, _count_devices(job)),)


def _judge_waiting(job: training_job.TrainingJob) -> statuses.Verdict:
    """A job whose gang may not start: it waits for admission, or cannot be admitted."""
    assignment = job.status.assignment
    if assignment is None or not accelerators.refuses(assignment, job.spec.accelerator):
        message = "the fleet cycle has not looked at this job yet"
        return statuses.Verdict(
            None, reasons.AWAITING_ASSIGNMENT, message, reconciling=(reasons.AWAITING_ASSIGNMENT, message)
        )
    lacks_room = assignment.reason == reasons.INSUFFICIENT_CAPACITY
    stuck = None if lacks_room else (assignment.reason, assignment.message)
    return statuses.Verdict(None, assignment.reason, assignment.message, stalled=stuck)


def _judge_orphans(attempt: int) -> statuses.Verdict:
    message = f"the Job of attempt {attempt} is gone, waiting for its workers to end"
    return statuses.Verdict(None, reasons.RESTARTING, message, reconciling=(reasons.RESTARTING, message))


def _judge_start(view: view.JobView, attempt: int, previous: children.Child | None) -> statuses.Verdict:
    if previous is None:
        return statuses.Verdict(
            None, reasons.STARTING, "the gang starts", reconciling=(reasons.STARTING, "creating workers")
        )
    why = _explain_failure(view, previous)
    message = f"attempt {attempt - 1} failed, the whole gang starts again: {why}"
    return statuses.Verdict(
        None, reasons.RESTARTING, message, reconciling=(reasons.RESTARTING, "creating workers")
    )


def _judge_attempt(view: view.JobView, newest: children.Child) -> statuses.Verdict:
    attempt = outcome.read_attempt(newest)
    if outcome.has_condition(newest, "Complete"):
        return statuses.Verdict(True, reasons.COMPLETED, f"every worker succeeded in attempt {attempt}")
    if outcome.has_condition(newest, "Failed"):
        return _judge_failure(view, newest)
    pods = [one for one in view.pods if one.labels.get(names.ATTEMPT_LABEL) == str(attempt)]
    workers = int(newest.body["spec"].get("parallelism", 0))
    if len(pods) >= workers and all(one.phase != "Pending" for one in pods):
        return statuses.Verdict(None, reasons.RUNNING, f"attempt {attempt} runs")
    found = diagnosis.diagnose(one for one in pods if one.phase == "Pending")
    reason, message = found or (reasons.STARTING, f"attempt {attempt} starts")
    return statuses.Verdict(None, reason, message, reconciling=(reason, message))


def _judge_failure(view: view.JobView, newest: children.Child) -> statuses.Verdict:
    attempt = outcome.read_attempt(newest)
    why = _explain_failure(view, newest)
    if attempt <= view.job.spec.failure_policy.max_restarts:
        message = f"attempt {attempt} failed, waiting for its workers to end: {why}"
        return statuses.Verdict(None, reasons.RESTARTING, message, reconciling=(reasons.RESTARTING, message))
    message = f"attempt {attempt} failed and failurePolicy.maxRestarts allows no other: {why}"
    return statuses.Verdict(False, reasons.RESTARTS_EXHAUSTED, message)


def _explain_failure(view: view.JobView, newest: children.Child) -> str:
    """What the first failed worker said, else what the Job says."""
    attempt = newest.labels.get(names.ATTEMPT_LABEL)
    failed = [
        one for one in view.pods if one.labels.get(names.ATTEMPT_LABEL) == attempt and one.phase == "Failed"
    ]
    for one in sorted(failed, key=lambda one: one.name):
        for container in one.containers:
            if container.exit_code:
                said = f": {container.message.strip()}" if container.message else ""
                return f"{one.name} exited with {container.exit_code} ({container.terminated_reason}){said}"
    return outcome.read_failure(newest)


def _report(
    view: view.JobView,
    newest: children.Child | None,
    found: statuses.Verdict,
    now: datetime.datetime,
    *,
    attempt: int | None = None,
    apply: tuple[Mapping[str, Any], ...] = (),
) -> decision.Decision:
    job = view.job
    old = job.status.conditions
    conditions = statuses.build_conditions(job.metadata, old, reasons.SUCCEEDED, found, now)
    status = {
        **_read_progress(job, newest, has_ended=found.is_well is not None),
        "observedGeneration": job.metadata.generation,
        "conditions": [one.to_wire() for one in conditions],
    }
    if attempt is not None:
        status["attempt"] = attempt
    starts = (_tell_precision(job),) if attempt is not None else ()
    return decision.Decision(
        status={key: value for key, value in status.items() if value is not None},
        apply=apply,
        keep=_find_kept(view, newest),
        events=(*statuses.events_of_change(old, conditions), *(event for event in starts if event)),
    )


def _tell_precision(job: training_job.TrainingJob) -> decision.Event | None:
    """Said when a gang starts: only then is it known where."""
    assigned = job.status.assignment.accelerator if job.status.assignment else None
    found = precision.find_warning(job, assigned)
    return decision.Event("Warning", reasons.PRECISION_NOT_NATIVE, found) if found else None


def _read_progress(
    job: training_job.TrainingJob, newest: children.Child | None, *, has_ended: bool
) -> dict[str, Any]:
    """Counts and times; those of a Job that is gone stay as they were."""
    before = job.status.model_copy(update={"assignment": None}).to_wire()
    if newest is None:
        return {**before, "activeWorkers": 0}
    return {
        "attempt": max(job.status.attempt, outcome.read_attempt(newest)),
        "activeWorkers": outcome.read_count(newest, "active"),
        "succeededWorkers": outcome.read_count(newest, "succeeded"),
        "startTime": before.get("startTime") or outcome.read_time(newest, "startTime"),
        "completionTime": before.get("completionTime") or (outcome.read_end(newest) if has_ended else None),
    }
