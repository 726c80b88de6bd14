"""Metrics about single objects and about the devices, made anew from a snapshot at every scrape.

So what is gone has no series. Names of objects stand in labels that no scrape adds by itself
(`object_namespace`, not `namespace`): whatever the scrape is set to, neither overwrites the other.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from prometheus_client import metrics_core, registry

from gpufleet.api import gpu_pool, meta, reasons, training_job, triton_service, tuning
from gpufleet.state import names, snapshot

SERVICE = ("object_namespace", "tritonservice")
JOB = ("object_namespace", "trainingjob")
STATES: Mapping[str, tuple[str, ...]] = {
    triton_service.KIND: ("Ready", "NotReady", "Stalled"),
    training_job.KIND: ("Waiting", "Running", "Suspended", "Stalled", "Succeeded", "Failed"),
    gpu_pool.KIND: ("Ready", "NotReady", "Stalled"),
}
"""Each is 0 where no object has it: a series that is not there alerts nobody."""
ENDED = ("Succeeded", "Failed")

Labels = tuple[str, ...]
Watched = triton_service.TritonService | training_job.TrainingJob | gpu_pool.GPUPool
Told = TypeVar("Told", triton_service.TritonService, training_job.TrainingJob)


@dataclasses.dataclass(frozen=True, slots=True)
class Family:
    """One metric: its help text, and its labels in the order in which samples give their values."""

    name: str
    help: str
    labels: Labels


FAMILIES = (
    Family("gpufleet_objects", "Objects by what their conditions say.", ("kind", "state")),
    Family("gpufleet_objects_left_out", "Objects over the limit, without metrics of their own.", ("kind",)),
    Family(
        "gpufleet_object_info",
        "1 for each object that has not ended: how it is, and the reason that its status gives.",
        ("kind", "object_namespace", "object_name", "state", "reason"),
    ),
    Family(
        "gpufleet_pod_info",
        "1 for each pod of gpufleet that has not ended: the TritonService or TrainingJob that it is of.",
        ("object_namespace", "object_pod", "tritonservice", "trainingjob"),
    ),
    Family("gpufleet_service_replicas_desired", "Servers that the service shall have.", SERVICE),
    Family("gpufleet_service_replicas_ready", "Servers whose models are all ready.", SERVICE),
    Family("gpufleet_service_models", "Models of the service.", SERVICE),
    Family("gpufleet_service_models_ready", "Models that a pod answers requests for.", SERVICE),
    Family(
        "gpufleet_service_objective_seconds",
        "Latency that the service promises, for a share of its requests.",
        (*SERVICE, "quantile"),
    ),
    Family("gpufleet_job_workers_desired", "Workers that the gang may have at most.", JOB),
    Family("gpufleet_job_workers_assigned", "Workers that may run now; 0: the gang waits.", JOB),
    Family("gpufleet_job_workers_active", "Workers that run.", JOB),
    Family("gpufleet_job_accelerators", "Devices or slices that the running workers hold.", JOB),
    Family("gpufleet_job_attempts", "Starts of the gang so far.", JOB),
    Family("gpufleet_job_failures", "Attempts that have failed, over the life of the job.", JOB),
    Family("gpufleet_job_checkpoint_timestamp_seconds", "When the newest known checkpoint was written.", JOB),
    Family(
        "gpufleet_job_waiting_since_timestamp_seconds", "Since when a gang waits that may not run yet.", JOB
    ),
    Family(
        "gpufleet_devices",
        "Devices and slices by what holds them; those on nodes that take no pod are unusable.",
        ("pool", "product", "resource", "state"),
    ),
    Family("gpufleet_nodes", "Nodes with devices, by whether they take pods.", ("pool", "state")),
)


class Objects(registry.Collector):
    """What one snapshot comes to; of each kind the first `limit` objects by name have series of their own."""

    def __init__(self, taken: snapshot.Snapshot, limit: int) -> None:
        self._taken = taken
        self._limit = limit
        self._samples: dict[str, list[tuple[Labels, float]]] = {one.name: [] for one in FAMILIES}

    def collect(self) -> Iterator[metrics_core.Metric]:
        self._samples = {name: [] for name in self._samples}
        self._tell_states()
        services = self._cut(triton_service.KIND, self._taken.services)
        jobs = self._cut(training_job.KIND, [one for one in self._taken.jobs if find_state(one) not in ENDED])
        told: set[Labels] = set()
        for service in services:
            told.add(self._tell_service(service))
        for job in jobs:
            told.add(self._tell_job(job))
        self._tell_pods(told)
        self._tell_devices()
        for family in FAMILIES:
            metric = metrics_core.GaugeMetricFamily(family.name, family.help, labels=family.labels)
            for labels, value in self._samples[family.name]:
                metric.add_metric(labels, value)
            yield metric

    def _add(self, name: str, labels: Labels, value: float) -> None:
        self._samples[f"gpufleet_{name}"].append((labels, value))

    def _cut(self, kind: str, found: Sequence[Told]) -> Sequence[Told]:
        self._add("objects_left_out", (kind,), max(0, len(found) - self._limit))
        return found[: self._limit]

    def _tell_states(self) -> None:
        taken = self._taken
        for kind, found in (
            (triton_service.KIND, taken.services),
            (training_job.KIND, taken.jobs),
            (gpu_pool.KIND, taken.pools),
        ):
            counted = Counter(map(find_state, found))
            for state in STATES[kind]:
                self._add("objects", (kind, state), counted[state])
        for pool in taken.pools:
            self._tell_info(gpu_pool.KIND, pool)

    def _tell_info(self, kind: str, one: Watched) -> None:
        metadata = one.metadata
        self._add(
            "object_info", (kind, metadata.namespace, metadata.name, find_state(one), find_reason(one)), 1
        )

    def _tell_service(self, service: triton_service.TritonService) -> Labels:
        labels, status = (service.metadata.namespace, service.metadata.name), service.status
        self._tell_info(triton_service.KIND, service)
        desired = status.assignment.replicas if status.assignment else 0
        self._add("service_replicas_desired", labels, desired)
        self._add("service_replicas_ready", labels, status.ready_replicas)
        self._add("service_models", labels, len(service.spec.models))
        self._add("service_models_ready", labels, sum(one.state == "Ready" for one in status.models))
        if service.spec.objective:
            latency = service.spec.objective.latency
            quantile = str(tuning.QUANTILES[latency.percentile])
            self._add("service_objective_seconds", (*labels, quantile), latency.target_milliseconds / 1000)
        return labels

    def _tell_job(self, job: training_job.TrainingJob) -> Labels:
        labels, status = (job.metadata.namespace, job.metadata.name), job.status
        self._tell_info(training_job.KIND, job)
        assigned, per_worker = (status.assignment.workers if status.assignment else 0), 0
        if status.assignment and status.assignment.accelerator:
            per_worker = status.assignment.accelerator.count
        self._add("job_workers_desired", labels, job.spec.workers.max)
        self._add("job_workers_assigned", labels, assigned)
        self._add("job_workers_active", labels, status.active_workers)
        self._add("job_accelerators", labels, status.active_workers * per_worker)
        self._add("job_attempts", labels, status.attempt)
        self._add(
            "job_failures", labels, sum(status.failures.model_dump().values() if status.failures else ())
        )
        if status.progress and status.progress.checkpoint_time:
            written_s = status.progress.checkpoint_time.timestamp()
            self._add("job_checkpoint_timestamp_seconds", labels, written_s)
        if find_state(job) == "Waiting" and (since := _find_waiting_since(job)):
            self._add("job_waiting_since_timestamp_seconds", labels, since.timestamp())
        return labels

    def _tell_pods(self, told: set[Labels]) -> None:
        for pod in self._taken.pods:
            service = pod.labels.get(names.SERVICE_LABEL, "")
            job = pod.labels.get(names.JOB_LABEL, "")
            if (pod.namespace, service or job) in told and not pod.is_terminal:
                self._add("pod_info", (pod.namespace, pod.name, service, job), 1)

    def _tell_devices(self) -> None:
        used = self._taken.used_on_nodes()
        devices: Counter[Labels] = Counter()
        nodes: Counter[Labels] = Counter()
        pools = list(_pool_of_each_node(self._taken))
        for node, pool in zip(self._taken.nodes, pools, strict=True):
            if not node.allocatable:
                continue
            nodes[pool, "usable" if node.is_usable else "unusable"] += 1
            product = node.labels.get(names.GPU_PRODUCT_LABEL, "")
            for resource, count in node.allocatable.items():
                taken = min(count, used[node.name][resource])
                free = "free" if node.is_usable else "unusable"
                devices[pool, product, resource, "used"] += taken
                devices[pool, product, resource, free] += count - taken
        for labels, count in sorted(devices.items()):
            self._add("devices", labels, count)
        for labels, count in sorted(nodes.items()):
            self._add("nodes", labels, count)


def find_state(one: Watched) -> str:
    """How an object is, by its conditions; one of STATES of its kind."""
    conditions = {condition.type: condition for condition in one.status.conditions}
    is_stalled = _is_true(conditions.get(reasons.STALLED))
    if not isinstance(one, training_job.TrainingJob):
        if is_stalled:
            return "Stalled"
        return "Ready" if _is_true(conditions.get(reasons.READY)) else "NotReady"
    main = conditions.get(reasons.SUCCEEDED)
    if main and main.status != "Unknown":
        return "Succeeded" if main.status == "True" else "Failed"
    if one.spec.suspend:
        return "Suspended"
    if is_stalled:
        return "Stalled"
    return "Running" if one.status.active_workers else "Waiting"


def find_reason(one: Watched) -> str:
    """Why it is so: of Stalled where that is true, else of the main condition; empty before the first."""
    conditions = {condition.type: condition for condition in one.status.conditions}
    stalled = conditions.get(reasons.STALLED)
    main = conditions.get(reasons.SUCCEEDED if isinstance(one, training_job.TrainingJob) else reasons.READY)
    told = stalled if _is_true(stalled) else main
    return told.reason if told else ""


def _is_true(condition: meta.Condition | None) -> bool:
    return condition is not None and condition.status == "True"


def _find_waiting_since(job: training_job.TrainingJob) -> datetime.datetime | None:
    """Since its last attempt ended, or since it was made."""
    return job.status.history[0].end_time if job.status.history else job.metadata.creation_timestamp


def _pool_of_each_node(taken: snapshot.Snapshot) -> Iterable[str]:
    """The first pool by name that a node is in; empty where it is in none."""
    found: dict[str, str] = {}
    for pool in taken.pools:
        for node in taken.nodes_of(pool):
            found.setdefault(node.name, pool.metadata.name)
    return (found.get(node.name, "") for node in taken.nodes)
