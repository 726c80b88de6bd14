"""What a gang's Jobs amount to: which attempt runs, has failed, or has ended the whole job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gpufleet.api import reasons, training_job
from gpufleet.state import children, names

_ENDED = frozenset({reasons.COMPLETED, reasons.RESTARTS_EXHAUSTED})


def is_finished(job: training_job.TrainingJob) -> bool:
    """Whether the job has ended, well or not, and so needs nothing any more."""
    return any(one.type == reasons.SUCCEEDED and one.reason in _ENDED for one in job.status.conditions)


def find_newest(owned: Iterable[children.Child]) -> children.Child | None:
    """The Job of the newest attempt."""
    jobs = [child for child in owned if child.kind == "Job"]
    return max(jobs, key=read_attempt, default=None)


def read_attempt(job: children.Child) -> int:
    """The attempt that a Job stands for, from 1."""
    return int(job.labels.get(names.ATTEMPT_LABEL, "0"))


def has_condition(job: children.Child, type_: str) -> bool:
    """Whether the Job says so of itself: Complete or Failed."""
    return any(one["type"] == type_ and one["status"] == "True" for one in _status(job).get("conditions", ()))


def read_end(job: children.Child) -> str | None:
    """When the Job completed or failed; the API server sets completionTime only for the former."""
    failed = (one for one in _status(job).get("conditions", ()) if one["type"] == "Failed")
    times = [read_time(job, "completionTime"), *(one.get("lastTransitionTime") for one in failed)]
    return next((str(time) for time in times if time), None)


def read_failure(job: children.Child) -> str:
    """The Job's own words about why it failed."""
    for one in _status(job).get("conditions", ()):
        if one["type"] == "Failed" and one["status"] == "True":
            return str(one.get("message") or one.get("reason") or "")
    return ""


def read_count(job: children.Child, field: str) -> int:
    """A counter of the Job's status, such as active or succeeded; 0 where it is not set."""
    return int(_status(job).get(field, 0))


def read_time(job: children.Child, field: str) -> str | None:
    """startTime or completionTime as the API server wrote it."""
    value = _status(job).get(field)
    return str(value) if value else None


def _status(job: children.Child) -> Mapping[str, Any]:
    status: Mapping[str, Any] = job.body.get("status") or {}
    return status
