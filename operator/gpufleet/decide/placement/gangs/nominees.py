"""Gangs for which devices are being freed: what is kept for each until it starts.

The places are those that its assignment names, node by node.
"""

from __future__ import annotations

from gpufleet.api import reasons, training_job
from gpufleet.decide.placement import booking
from gpufleet.decide.placement.gangs import need as needs
from gpufleet.decide.training import outcome

Job = training_job.TrainingJob


def is_nominee(job: Job) -> bool:
    """Whether devices are being freed for the gang."""
    given = job.status.assignment
    return given is not None and given.reason == reasons.AWAITING_PREEMPTION and not outcome.is_finished(job)


def keep(job: Job, books: booking.Books) -> None:
    """Keeps what was freed for a gang that waits; nothing for one that is no nominee."""
    _keep(job, books, 1)


def release(job: Job, books: booking.Books) -> None:
    """Undoes `keep`, for the gang itself."""
    _keep(job, books, -1)


def is_being_freed(need: needs.Need, books: booking.Books) -> bool:
    """Whether pods that are about to end still hold what the gang has been promised."""
    given = need.job.status.assignment
    if not is_nominee(need.job) or given is None or given.placement is None:
        return False
    resource, count = need.assigned.resource, need.assigned.count
    for domain in given.placement.domains:
        name = domain.values[0]
        if name not in books.free:
            return False
        free = max(0, books.count_free(name, need.assigned)) + books.ending[name][resource]
        if free // count < domain.workers:
            return False
    return True


def _keep(job: Job, books: booking.Books, sign: int) -> None:
    given = job.status.assignment
    if not is_nominee(job) or given is None or given.accelerator is None or given.placement is None:
        return
    for domain in given.placement.domains:
        if domain.values[0] in books.kept:
            books.keep(domain.values[0], given.accelerator, sign * domain.workers)
