"""Gangs that the fleet cycle does not admit: suspended ones, those of a queue, and those of another manager.

What they hold counts by their pods, as everybody's does. A queue's gang gets its resource and no place: when
it may start is the queue's decision.
"""

from __future__ import annotations

from collections.abc import Iterator

from gpufleet.api import training_job
from gpufleet.decide.placement import accelerators as resolving
from gpufleet.decide.training import lifecycle, outcome
from gpufleet.state import assignment as assignments
from gpufleet.state import snapshot


def assign(view: snapshot.Snapshot) -> Iterator[assignments.Assignment]:
    """What those gangs should have and have not: nothing while suspended, else what a queue may admit."""
    resolver = resolving.Resolver(view)
    for job in view.jobs:
        if outcome.is_finished(job) or lifecycle.is_foreign(job) or not is_left_out(job):
            continue
        before = job.status.assignment
        given = _take_back(before) if job.spec.suspend else _hand_over(job, resolver)
        if given is not None and given != before:
            about = job.metadata
            yield assignments.Assignment(
                training_job.KIND, about.namespace, about.name, about.uid, given.to_wire()
            )


def is_left_out(job: training_job.TrainingJob) -> bool:
    """Whether the gang is not the cycle's to admit."""
    return job.spec.suspend or job.spec.queue is not None or lifecycle.is_foreign(job)


def _take_back(before: training_job.JobAssignment | None) -> training_job.JobAssignment | None:
    """The block is looked at again when it resumes; until then it tells what the last attempt held."""
    if before is None or before.workers == 0:
        return None
    return before.model_copy(update={"workers": 0})


def _hand_over(
    job: training_job.TrainingJob, resolver: resolving.Resolver
) -> training_job.JobAssignment | None:
    """The whole gang, on what its block resolves to; it stays so until the job ends."""
    before, block = job.status.assignment, job.spec.accelerator
    if before is not None and before.workers > 0:
        return None
    requested = resolving.describe(block)
    if block is None:
        return training_job.JobAssignment(workers=job.spec.workers.max, requested=requested)
    is_gang = job.spec.framework != "Plain" and job.spec.workers.max > 1
    found = resolver.resolve(block, whole_devices=is_gang)
    if isinstance(found, resolving.Refusal):
        return training_job.JobAssignment(
            workers=0, requested=requested, reason=found.reason, message=found.message
        )
    return training_job.JobAssignment(workers=job.spec.workers.max, accelerator=found, requested=requested)
