"""What status says of a gang: each function gives one verdict with its reason."""

from __future__ import annotations

from gpufleet.api import reasons, training_job, training_record
from gpufleet.decide import diagnosis
from gpufleet.decide import status as statuses
from gpufleet.decide.placement import accelerators
from gpufleet.decide.training import failure, outcome
from gpufleet.state import children, view


def _moving(reason: str, message: str) -> statuses.Verdict:
    return statuses.Verdict(None, reason, message, reconciling=(reason, message))


def judge_waiting(job: training_job.TrainingJob) -> statuses.Verdict:
    """A job whose gang may not start: it waits for admission, or cannot be admitted."""
    assignment = job.status.assignment
    if assignment is None or not accelerators.refuses(assignment, job.spec.accelerator):
        return _moving(reasons.AWAITING_ASSIGNMENT, "the fleet cycle has not looked at this job yet")
    is_waiting = assignment.reason in (*reasons.LACK_OF_ROOM, *reasons.TAKEN_BACK)
    stuck = None if is_waiting else (assignment.reason, assignment.message)
    return statuses.Verdict(None, assignment.reason, assignment.message, stalled=stuck)


def judge_suspended(*, is_ending: bool) -> statuses.Verdict:
    """It keeps its checkpoint and gives its place back."""
    if is_ending:
        return _moving(reasons.SUSPENDED, "spec.suspend is set, waiting for its workers to end")
    return statuses.Verdict(None, reasons.SUSPENDED, "spec.suspend is set: unset it to go on")


def judge_taken_back(entry: training_record.AttemptRecord, *, is_ending: bool) -> statuses.Verdict:
    """The fleet cycle has ended the attempt; the gang waits, in its old place in the queue."""
    if is_ending:
        return _moving(entry.ended_by, f"{entry.message}; waiting for its workers to end")
    return statuses.Verdict(None, entry.ended_by, entry.message)


def judge_start(last: training_record.AttemptRecord | None) -> statuses.Verdict:
    """A gang that starts now."""
    if last is None or not is_failure(last):
        message, what = "the gang starts", reasons.STARTING
    else:
        message, what = f"{tell(last)}; the whole gang starts again", reasons.RESTARTING
    return statuses.Verdict(None, what, message, reconciling=(what, "creating workers"))


def judge_restart(last: training_record.AttemptRecord | None, waits_for: str) -> statuses.Verdict:
    """A gang that may start again, but not yet."""
    why = "the Job of the last attempt is gone"
    if last and is_failure(last):
        why = tell(last)
    elif last and last.ended_by == "Resized":
        why = f"attempt {last.attempt} was resized {last.message}"
    return _moving(reasons.RESTARTING, f"{why}; {waits_for}")


def judge_mismatch(message: str) -> statuses.Verdict:
    """No gang that this job allows fits its layout."""
    found = (reasons.WORLD_SIZE_MISMATCH, message)
    return statuses.Verdict(None, *found, stalled=found)


def judge_success(attempt: int) -> statuses.Verdict:
    """The end that everybody wants."""
    return statuses.Verdict(True, reasons.COMPLETED, f"every worker succeeded in attempt {attempt}")


def judge_running(view: view.JobView, newest: children.Child) -> statuses.Verdict:
    """An attempt that goes on."""
    attempt = outcome.read_attempt(newest)
    if view.job.spec.queue and outcome.is_suspended(newest):
        message = f"{view.job.spec.queue.kind} {view.job.spec.queue.name} has not admitted the gang"
        return statuses.Verdict(None, reasons.AWAITING_QUEUE, f"{message}: see its Workload in Kueue")
    pods = failure.pods_of(view, newest)
    workers = int(newest.body["spec"].get("parallelism", 0))
    if len(pods) >= workers and all(one.phase != "Pending" for one in pods):
        return statuses.Verdict(None, reasons.RUNNING, f"attempt {attempt} runs")
    found = diagnosis.diagnose(one for one in pods if one.phase == "Pending")
    return _moving(*(found or (reasons.STARTING, f"attempt {attempt} starts")))


def is_failure(entry: training_record.AttemptRecord) -> bool:
    """Whether the attempt failed, rather than succeeded or was told to end."""
    return entry.ended_by not in training_record.NO_FAILURE


def tell(entry: training_record.AttemptRecord) -> str:
    """An attempt's failure in one sentence."""
    return f"attempt {entry.attempt} failed ({entry.ended_by}): {entry.message}"
