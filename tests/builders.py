"""State values and API objects with what a test says of them; the rest is the least that is valid."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from gpufleet.api import accelerator as accelerators
from gpufleet.api import gpu_pool, meta, training_job, triton_service
from gpufleet.state import children, fleet, models, names, snapshot, view
from tests import builders_api

NOW = datetime.datetime(2030, 1, 1, 12, 0, tzinfo=datetime.UTC)
NAMESPACE = "default"
A100 = "NVIDIA-A100-SXM4-40GB"
H100 = "NVIDIA-H100-80GB-HBM3"
GPU = "nvidia.com/gpu"

API_VERSIONS = {"Deployment": "apps/v1", "Job": "batch/v1", "Service": "v1", "ConfigMap": "v1"}
API_VERSIONS["ModelProfile"] = "gpufleet.dev/v1alpha1"


def _complete(wire: dict[str, Any], status: Mapping[str, Any] | None, created_s: float) -> dict[str, Any]:
    """The object as the API server stores it: with UID, generation and creation time."""
    created = NOW + datetime.timedelta(seconds=created_s)
    added = {"uid": f"uid-{wire['metadata']['name']}", "generation": 1, "creationTimestamp": created}
    return {**wire, "metadata": {**added, **wire["metadata"]}, "status": dict(status or {})}


def make_service(
    name: str = "vision",
    namespace: str = NAMESPACE,
    *,
    status: Mapping[str, Any] | None = None,
    created_s: float = 0.0,
    **spec: Any,
) -> triton_service.TritonService:
    """A TritonService with one python model; keywords are laid over its spec, in wire form."""
    wire = _complete(builders_api.make_service(name, namespace, **spec), status, created_s)
    return triton_service.TritonService.model_validate(wire)


def make_job(
    name: str = "llm",
    namespace: str = NAMESPACE,
    *,
    status: Mapping[str, Any] | None = None,
    created_s: float = 0.0,
    **spec: Any,
) -> training_job.TrainingJob:
    """A TrainingJob of two plain workers; keywords are laid over its spec, in wire form."""
    wire = _complete(builders_api.make_training_job(name, namespace, **spec), status, created_s)
    return training_job.TrainingJob.model_validate(wire)


def make_pool(
    name: str = "a100", *, status: Mapping[str, Any] | None = None, **spec: Any
) -> gpu_pool.GPUPool:
    """A GPUPool of the nodes labelled `gpufleet.dev/pool: a100`; keywords are laid over its spec."""
    wire = _complete(builders_api.make_pool(name, **spec), status, 0.0)
    return gpu_pool.GPUPool.model_validate(wire)


def make_node(
    name: str = "node-a",
    allocatable: Mapping[str, int] | None = None,
    *,
    product: str = A100,
    pool: str = "a100",
    **fields: Any,
) -> fleet.Node:
    """A Ready node with 8 GPUs; `product` and `pool` become labels, an empty one does not."""
    labels = {names.GPU_PRODUCT_LABEL: product, "gpufleet.dev/pool": pool}
    present = {key: value for key, value in labels.items() if value}
    return fleet.Node(
        name, labels=present, allocatable={GPU: 8} if allocatable is None else allocatable, **fields
    )


def make_pod(name: str = "pod", *, labels: Mapping[str, str] | None = None, **fields: Any) -> fleet.Pod:
    """A Pending pod; `labels` are added to the one that says it is ours."""
    ours = {names.MANAGED_BY: names.MANAGER, **(labels or {})}
    base: dict[str, Any] = {"uid": f"uid-{name}", "namespace": NAMESPACE}
    return fleet.Pod(name=name, labels=ours, **{**base, **fields})


def make_service_pod(name: str, service: str = "vision", revision: str = "", **fields: Any) -> fleet.Pod:
    """A pod of a TritonService."""
    return make_pod(name, labels={names.SERVICE_LABEL: service, names.REVISION_LABEL: revision}, **fields)


def make_worker(name: str, job: str = "llm", attempt: int = 1, **fields: Any) -> fleet.Pod:
    """A pod of a TrainingJob's attempt."""
    return make_pod(name, labels={names.JOB_LABEL: job, names.ATTEMPT_LABEL: str(attempt)}, **fields)


def deleted() -> fleet.Interruption:
    """What is noted of a worker that somebody deleted while it worked."""
    return fleet.Interruption(fleet.DELETED, "2030-01-01T11:59:59Z")


def make_child(
    kind: str,
    name: str,
    *,
    owner_uid: str = "",
    labels: Mapping[str, str] | None = None,
    **body: Any,
) -> children.Child:
    """A live child; keywords are the rest of its body, such as spec and status."""
    metadata = {
        "name": name,
        "namespace": NAMESPACE,
        "uid": f"uid-{kind}-{name}",
        "labels": dict(labels or {}),
    }
    metadata |= body.pop("metadata", {})
    return children.Child(
        api_version=API_VERSIONS[kind],
        kind=kind,
        namespace=NAMESPACE,
        name=name,
        uid=metadata["uid"],
        resource_version="1",
        owner_uid=owner_uid,
        body={"apiVersion": API_VERSIONS[kind], "kind": kind, "metadata": metadata, **body},
    )


def make_attempt(
    attempt: int = 1, ended: str = "", *, job: str = "llm", workers: int = 2, message: str = "", **status: Any
) -> children.Child:
    """The Job of one attempt; `ended` is its last condition, Complete or Failed, if any."""
    conditions = [{"type": ended, "status": "True", "message": message}] if ended else []
    return make_child(
        "Job",
        f"{job}-{attempt}",
        labels={names.JOB_LABEL: job, names.ATTEMPT_LABEL: str(attempt)},
        spec={"parallelism": workers, "completions": workers},
        status={"conditions": conditions, **status},
    )


def as_child(manifest: Mapping[str, Any]) -> children.Child:
    """A manifest as if it had been applied."""
    rest = {key: value for key, value in manifest.items() if key not in ("apiVersion", "kind", "metadata")}
    metadata = manifest["metadata"]
    return make_child(manifest["kind"], metadata["name"], labels=metadata.get("labels"), **rest)


def make_condition(
    type_: str, status: str = "True", reason: str = "Because", message: str = "", age_s: float = 60.0
) -> meta.Condition:
    """A condition that has been as it is for `age_s` seconds."""
    since = NOW - datetime.timedelta(seconds=age_s)
    return meta.Condition(
        type=type_,
        status=status,
        reason=reason,
        message=message,
        last_transition_time=since,  # type: ignore[arg-type]
    )


def make_report(revision: str, **states: str) -> models.AgentReport:
    """What an agent says, as model=state; a state may carry a message after a colon."""
    parts = {name: state.partition(":") for name, state in states.items()}
    return models.AgentReport(
        revision,
        tuple(models.ModelReport(name, state, said) for name, (state, _, said) in parts.items()),  # type: ignore[arg-type]
    )


def make_assigned(count: int = 1, pool: str | None = None) -> accelerators.AssignedAccelerator:
    """Whole GPUs of any product."""
    return accelerators.AssignedAccelerator(resource=GPU, count=count, pool=pool)


def make_service_view(service: triton_service.TritonService | None = None, **fields: Any) -> view.ServiceView:
    return view.ServiceView(service or make_service(), **fields)


def make_job_view(job: training_job.TrainingJob | None = None, **fields: Any) -> view.JobView:
    return view.JobView(job or make_job(), **fields)


def make_snapshot(
    nodes: Iterable[fleet.Node] = (),
    pods: Iterable[fleet.Pod] = (),
    *,
    pools: Iterable[gpu_pool.GPUPool] = (),
    services: Iterable[triton_service.TritonService] = (),
    jobs: Iterable[training_job.TrainingJob] = (),
    **live: Any,
) -> snapshot.Snapshot:
    """A snapshot, sorted as the real one is."""

    def by_name(one: Any) -> tuple[str, str]:
        return one.metadata.namespace, one.metadata.name

    return snapshot.Snapshot(
        nodes=tuple(sorted(nodes, key=lambda node: node.name)),
        pods=tuple(sorted(pods, key=lambda pod: (pod.namespace, pod.name))),
        pools=tuple(sorted(pools, key=by_name)),
        services=tuple(sorted(services, key=by_name)),
        jobs=tuple(sorted(jobs, key=by_name)),
        **live,
    )
