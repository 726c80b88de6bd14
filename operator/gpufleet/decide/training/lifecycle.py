"""What stays of a job: children that are kept, and for how long."""

from __future__ import annotations

import datetime

from gpufleet.api import training_job
from gpufleet.decide.training import history, outcome
from gpufleet.state import children, view

KEPT_ATTEMPTS = 3
"""Failed Jobs that stay for their logs, the newest included."""
OPERATOR = "gpufleet.dev/operator"


def is_foreign(job: training_job.TrainingJob) -> bool:
    """Whether another controller works on the job."""
    return job.spec.managed_by not in (None, OPERATOR)


def find_kept(view: view.JobView, newest: children.Child | None) -> frozenset[children.ChildRef]:
    """All but Jobs that shall end, and what belongs to attempts so long ago that nobody reads their logs."""
    oldest = outcome.read_attempt(newest) - KEPT_ATTEMPTS if newest else 0
    return frozenset(
        child.ref
        for child in view.children
        if not _shall_end(view.job, child) and not 0 < outcome.read_attempt(child) <= oldest
    )


def find_kept_after_end(
    view: view.JobView, newest: children.Child | None, now: datetime.datetime
) -> tuple[frozenset[children.ChildRef], float | None]:
    """Jobs with their logs, and for how many seconds yet; None: as long as the job exists."""
    left_s = find_ttl_left_s(view.job, now)
    if left_s is not None and left_s <= 0:
        return frozenset(), None
    kept = find_kept(view, newest)
    return frozenset(ref for ref in kept if ref.kind == "Job"), left_s


def find_ttl_left_s(job: training_job.TrainingJob, now: datetime.datetime) -> float | None:
    """Seconds until the children of a job that has ended go; None where they stay."""
    ttl_s, ended = job.spec.ttl_seconds_after_finished, job.status.completion_time
    if ttl_s is None or ended is None:
        return None
    return ttl_s - (now - ended).total_seconds()


def is_ending(view: view.JobView) -> bool:
    """Whether workers may still compute. One told to end on a node that is lost cannot be waited for."""
    return any(_shall_end(view.job, child) for child in view.children) or any(
        not one.is_terminal and not (one.deleting and one.node in view.lost_nodes) for one in view.pods
    )


def _shall_end(job: training_job.TrainingJob, child: children.Child) -> bool:
    """An attempt that was recorded as ended before its Job knew."""
    if child.kind != "Job" or outcome.is_over(child):
        return False
    return history.find_record(job, outcome.read_attempt(child)) is not None
