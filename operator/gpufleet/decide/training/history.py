"""What status keeps of attempts that have ended.

An attempt is recorded before anything follows from its end: it is counted once, whatever happens in between.
"""

from __future__ import annotations

import dataclasses
import datetime

from gpufleet.api import training_job, training_record
from gpufleet.decide.training import endings, outcome
from gpufleet.state import children, conditions

_FIELDS: dict[training_record.EndedBy, str] = {
    "Infrastructure": "infrastructure",
    "OutOfMemory": "out_of_memory",
    "ProgramError": "program_error",
    "Stalled": "stalled",
    "UserError": "final",
    "DeadlineExceeded": "final",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Account:
    """Records, counts and costs, as status has them."""

    records: tuple[training_record.AttemptRecord, ...]
    failures: training_record.FailureCounts
    usage: training_record.Usage


def read(job: training_job.TrainingJob) -> Account:
    """As status says."""
    status = job.status
    return Account(
        tuple(status.history),
        status.failures or training_record.FailureCounts(),
        status.usage or training_record.Usage(),
    )


def find_record(job: training_job.TrainingJob, attempt: int) -> training_record.AttemptRecord | None:
    """How that attempt ended; None where it has not."""
    return next((one for one in job.status.history if one.attempt == attempt), None)


def next_attempt(job: training_job.TrainingJob) -> int:
    """The number of the attempt that is to start; one whose Job vanished without an end starts again."""
    ended = max((one.attempt for one in job.status.history), default=0)
    return max(1, job.status.attempt, ended + 1)


def record(job: training_job.TrainingJob, newest: children.Child, ending: endings.Ending) -> Account:
    """The account with one more attempt."""
    before = read(job)
    found, size = ending.found, int(newest.body["spec"].get("parallelism", 0))
    started = _read_start(newest)
    entry = training_record.AttemptRecord(
        attempt=outcome.read_attempt(newest),
        ended_by=found.ended_by,
        message=_cut(found.message),
        worker=found.worker,
        node=found.node,
        exit_code=found.exit_code,
        workers=size,
        start_time=started,
        end_time=ending.at.replace(microsecond=0),
    )
    run_s = _count_seconds(entry)
    usage = before.usage.model_copy(
        update={
            "queue_seconds": before.usage.queue_seconds or count_queue_seconds(job, started),
            "run_seconds": before.usage.run_seconds + run_s,
            "accelerator_seconds": before.usage.accelerator_seconds + run_s * size * count_devices(job),
        }
    )
    return Account(
        (entry, *before.records)[: training_record.KEPT_RECORDS],
        _count(before.failures, found.ended_by),
        usage,
    )


def count_devices(job: training_job.TrainingJob) -> int:
    """Accelerators or slices that one worker holds."""
    assigned = job.status.assignment.accelerator if job.status.assignment else None
    return assigned.count if assigned else 0


def count_queue_seconds(job: training_job.TrainingJob, started: datetime.datetime | None) -> int:
    """From creation until the first gang started."""
    first, created = job.status.start_time or started, job.metadata.creation_timestamp
    return max(0, int((first - created).total_seconds())) if first and created else 0


def ran_s(entry: training_record.AttemptRecord) -> int:
    """How long an attempt ran."""
    return _count_seconds(entry)


def _read_start(newest: children.Child) -> datetime.datetime | None:
    text = outcome.read_time(newest, "startTime")
    return datetime.datetime.fromisoformat(text) if text else None


def _count_seconds(entry: training_record.AttemptRecord) -> int:
    """A clock that was set back gives no time, not less than none."""
    if entry.start_time is None:
        return 0
    return max(0, int((entry.end_time - entry.start_time).total_seconds()))


def _count(
    before: training_record.FailureCounts, ended_by: training_record.EndedBy
) -> training_record.FailureCounts:
    field = _FIELDS.get(ended_by)
    return before.model_copy(update={field: getattr(before, field) + 1}) if field else before


def _cut(message: str) -> str:
    limit = conditions.MESSAGE_LIMIT
    return message if len(message) <= limit else message[: limit - 1] + "…"
