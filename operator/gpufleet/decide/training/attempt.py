"""What one attempt of a gang consists of: an Indexed Job, its Service, and a hostfile where mpirun needs one.

The manifests of an attempt are applied once. What its Job's controller or a queue writes into it later stays.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from gpufleet.api import training_job
from gpufleet.decide.resources import core, workloads
from gpufleet.decide.training import environment, history, kueue, mpi, pod, resize, retry
from gpufleet.state import names, view

Manifests = tuple[Mapping[str, Any], ...]

FAILURE_RULES = [
    {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [0]}},
]
"""The Job then keeps in its own condition what ended it, also when the pod has long gone.

The second rule would fail an elastic gang that shrinks: workers that are told to go seldom exit with 0, and
rules look at all pods. backoffLimit and completions do not: they leave out ranks beyond the Job's size
(kubernetes:pkg/controller/job/job_controller.go, getFailJobMessage and getValidPodsWithFilter).
"""


def build(view: view.JobView, workers: int, attempt: int, now: datetime.datetime) -> Manifests:
    """Everything of a new attempt, the Job last: it takes."""
    job = view.job
    assigned = job.status.assignment.accelerator if job.status.assignment else None
    avoided = retry.find_avoided(job, now)
    template = pod.build_template(job, workers, assigned, view.pool, attempt, avoided)
    labels = {names.JOB_LABEL: job.metadata.name, names.ATTEMPT_LABEL: str(attempt)}
    manifest = workloads.build_indexed_job(
        environment.job_name(job, attempt),
        job.metadata.namespace,
        {**labels, **kueue.build_labels(job)},
        workers,
        template,
        {**kueue.build_limits(job), **_build_limits(job, workers)},
        kueue.build_annotations(job, workers),
    )
    return (*build_rendezvous(job, workers), *_build_hosts(job, workers, attempt), manifest)


def build_rendezvous(job: training_job.TrainingJob, workers: int) -> Manifests:
    """The headless Service under which workers find worker 0; a gang of one needs none."""
    if workers <= 1:
        return ()
    name, namespace = job.metadata.name, job.metadata.namespace
    ours = {names.JOB_LABEL: name}
    ports = {"rendezvous": environment.port(job)}
    return (core.build_service(name, namespace, ours, ours, ports, headless=True, before_ready=True),)


def find_time_left_s(job: training_job.TrainingJob) -> int | None:
    """What activeDeadlineSeconds leaves to the next attempt; None where there is no limit."""
    limit_s = job.spec.active_deadline_seconds
    return None if limit_s is None else limit_s - history.read(job).usage.run_seconds


def _build_limits(job: training_job.TrainingJob, workers: int) -> dict[str, Any]:
    """When the Job has failed, and when it has succeeded though workers still serve."""
    rules = FAILURE_RULES[:1] if resize.is_elastic(job) else FAILURE_RULES
    limits: dict[str, Any] = {"podFailurePolicy": {"rules": rules}}
    if (left_s := find_time_left_s(job)) is not None:
        limits["activeDeadlineSeconds"] = left_s
    if mpi.is_launched(job) and workers > 1:
        limits["successPolicy"] = {"rules": [{"succeededIndexes": "0"}]}
    return limits


def _build_hosts(job: training_job.TrainingJob, workers: int, attempt: int) -> Manifests:
    """The hostfile of a gang that mpirun starts."""
    if workers == 1 or not mpi.is_launched(job):
        return ()
    hosts = [environment.host(job, attempt, index) for index in range(workers)]
    return (mpi.build_hosts(job, attempt, hosts, max(1, history.count_devices(job))),)
