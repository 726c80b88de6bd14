"""What the Job of a gang says so that Kueue admits it (https://kueue.sigs.k8s.io/docs/tasks/run/jobs).

The Job is created suspended, so that nothing starts where Kueue is missing or does not manage Jobs. From then
on suspend, counts, node selectors and tolerations are Kueue's: the manifest is never applied again.
"""

from __future__ import annotations

from typing import Any

from gpufleet.api import training_job

PREFIX = "kueue.x-k8s.io/"
QUEUE_LABEL = PREFIX + "queue-name"
PRIORITY_LABEL = PREFIX + "priority-class"
LEAST_ANNOTATION = PREFIX + "job-min-parallelism"
ALL_COUNT_ANNOTATION = PREFIX + "job-completions-equal-parallelism"


def build_labels(job: training_job.TrainingJob) -> dict[str, str]:
    """Which queue, and how urgent; nothing for a gang that gpufleet admits."""
    queue = job.spec.queue
    if queue is None:
        return {}
    urgency = {PRIORITY_LABEL: queue.priority_class_name} if queue.priority_class_name else {}
    return {QUEUE_LABEL: queue.name, **urgency}


def build_annotations(job: training_job.TrainingJob, workers: int) -> dict[str, str]:
    """With how few workers the gang may be admitted, where they find out themselves how many they are."""
    least = job.spec.workers.min or workers
    if job.spec.queue is None or least >= workers or not _counts_itself(job):
        return {}
    return {LEAST_ANNOTATION: str(least), ALL_COUNT_ANNOTATION: "true"}


def build_limits(job: training_job.TrainingJob) -> dict[str, Any]:
    """Suspended until it is admitted."""
    return {"suspend": True} if job.spec.queue else {}


def leave_placement(job: training_job.TrainingJob, pool_fields: dict[str, Any]) -> dict[str, Any]:
    """A pool's fields without those by which a queue's flavor places the gang."""
    if job.spec.queue is None:
        return pool_fields
    return {key: value for key, value in pool_fields.items() if key != "nodeSelector"}


def _counts_itself(job: training_job.TrainingJob) -> bool:
    """Other gangs are told their number, which an admission with fewer would belie."""
    is_elastic = job.spec.torch is not None and job.spec.torch.rendezvous == "Elastic"
    return (job.spec.framework == "Plain" or is_elastic) and job.spec.parallelism is None
