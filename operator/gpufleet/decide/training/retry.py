"""What follows from the end of an attempt: another one, when and where, or the end of the job."""

from __future__ import annotations

import datetime
import itertools

from gpufleet.api import reasons, training_job, training_record
from gpufleet.decide.training import history

EARLY_S = 600
"""After an attempt that ran longer, the waits start anew, as the kubelet's do."""


def find_final(job: training_job.TrainingJob, account: history.Account) -> tuple[str, str] | None:
    """(reason, message) where no other attempt follows the newest record."""
    newest, counts, policy = account.records[0], account.failures, job.spec.failure_policy
    why = f"attempt {newest.attempt} failed: {newest.message}"
    if newest.ended_by == "DeadlineExceeded":
        return reasons.DEADLINE_EXCEEDED, why
    if newest.ended_by == "UserError":
        return reasons.USER_ERROR, f"{why} (no restart would mend it)"
    if newest.ended_by == "OutOfMemory" and counts.out_of_memory > 1:
        return reasons.OUT_OF_MEMORY, f"{why} (for the second time)"
    charged = counts.program_error + counts.stalled + counts.out_of_memory
    if newest.ended_by != "Infrastructure" and charged > policy.max_restarts:
        message = f"attempt {newest.attempt} failed and failurePolicy.maxRestarts allows no other"
        return reasons.RESTARTS_EXHAUSTED, f"{message}: {newest.message}"
    if charged + counts.infrastructure >= policy.max_attempts:
        message = f"attempt {newest.attempt} failed and failurePolicy.maxAttempts allows no other"
        return reasons.ATTEMPTS_EXHAUSTED, f"{message}: {newest.message}"
    return None


def find_due(job: training_job.TrainingJob) -> datetime.datetime | None:
    """When the next attempt may start; None where it need not wait.

    Doubles with each failure in a row that came early, as podFailureBackOff of a Job does.
    """
    records, policy = job.status.history, job.spec.failure_policy
    if not records or records[0].ended_by in training_record.NO_FAILURE:
        return None
    early = sum(1 for _ in itertools.takewhile(_is_early, records))
    delay_s = min(policy.max_backoff_seconds, policy.backoff_seconds * 2 ** max(0, early - 1))
    return records[0].end_time + datetime.timedelta(seconds=delay_s)


def find_avoided(job: training_job.TrainingJob, now: datetime.datetime) -> tuple[str, ...]:
    """Nodes that a new attempt stays off, where it can."""
    limit = datetime.timedelta(seconds=job.spec.failure_policy.avoid_nodes_seconds)
    return tuple(sorted({one.node for one in job.status.history if one.node and now - one.end_time < limit}))


def _is_early(entry: training_record.AttemptRecord) -> bool:
    return entry.ended_by not in training_record.NO_FAILURE and history.ran_s(entry) < EARLY_S
