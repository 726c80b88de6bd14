"""What a gang's Jobs amount to: which attempt runs, has failed, or has ended the whole job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gpufleet.api import reasons, training_job
from gpufleet.state import children, names

FAILED = ("FailureTarget", "Failed")
"""Conditions of a Job that has failed: as it ends its pods, and once they have ended."""


def is_finished(job: training_job.TrainingJob) -> bool:
    """Whether the job has ended, well or not, and so needs nothing any more."""
    for one in job.status.conditions:
        if one.type == reasons.SUCCEEDED:
            return one.status != "Unknown"
    return False


def find_newest(owned: Iterable[children.Child]) -> children.Child | None:
    """The Job of the newest attempt."""
    jobs = [child for child in owned if child.kind == "Job"]
    return max(jobs, key=read_attempt, default=None)


def read_attempt(job: children.Child) -> int:
    """The attempt that a Job stands for, from 1."""
    return int(job.labels.get(names.ATTEMPT_LABEL, "0"))


def has_condition(job: children.Child, *types: str) -> bool:
    """Whether the Job says one of these of itself: Complete or Failed."""
    return any(one["type"] in types for one in _conditions(job))


def is_over(job: children.Child) -> bool:
    """Whether its controller starts nothing any more."""
    return has_condition(job, "Complete", *FAILED)


def is_suspended(job: children.Child) -> bool:
    """Whether a queue holds it back."""
    return bool(job.body["spec"].get("suspend"))


def read_end(job: children.Child) -> str | None:
    """When the Job completed or failed; the API server sets completionTime only for the former."""
    failed = (one for one in _conditions(job) if one["type"] in FAILED)
    times = [read_time(job, "completionTime"), *(one.get("lastTransitionTime") for one in failed)]
    return next((str(time) for time in times if time), None)


def read_failure(job: children.Child) -> str:
    """The Job's own words about why it failed."""
    failed = (one for one in _conditions(job) if one["type"] in FAILED)
    return next((str(one.get("message") or one.get("reason") or "") for one in failed), "")


def has_exceeded_deadline(job: children.Child) -> bool:
    """Whether the Job failed by its activeDeadlineSeconds."""
    return any(one["type"] in FAILED and one.get("reason") == "DeadlineExceeded" for one in _conditions(job))


def read_count(job: children.Child, field: str) -> int:
    """A counter of the Job's status, such as active or succeeded; 0 where it is not set."""
    return int(_status(job).get(field, 0))


def read_time(job: children.Child, field: str) -> str | None:
    """startTime or completionTime as the API server wrote it."""
    value = _status(job).get(field)
    return str(value) if value else None


def _conditions(job: children.Child) -> list[Mapping[str, Any]]:
    return [one for one in _status(job).get("conditions") or () if one["status"] == "True"]


def _status(job: children.Child) -> Mapping[str, Any]:
    status: Mapping[str, Any] = job.body.get("status") or {}
    return status
