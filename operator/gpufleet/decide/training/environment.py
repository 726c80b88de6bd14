"""How workers of a gang find each other: each framework's own variables.

JAX: jax.distributed.initialize. torchrun reads PET_*: every option of torch.distributed.run in upper case.
"""

from __future__ import annotations

from typing import Any

from gpufleet.api import training_job
from gpufleet.state import names

JAX_PORT = 29500
TORCH_PORT = 29500
_LOCAL = "localhost"


def build(job: training_job.TrainingJob, workers: int, per_worker: int, attempt: int) -> list[dict[str, Any]]:
    """Rendezvous variables of one worker; `per_worker` is its number of devices, at least 1."""
    leader = _leader_address(job, workers, attempt)
    common = [{"name": "GPUFLEET_ATTEMPT", "value": str(attempt)}]
    match job.spec.framework:
        case "JAX":
            return common + _build_jax(leader, workers)
        case "Torch":
            return common + _build_torch(job, leader, workers, per_worker, attempt)
        case "Plain":
            return common
    raise ValueError(f"spec.framework {job.spec.framework} is unknown: use Torch, JAX or Plain")


def job_name(job: training_job.TrainingJob, attempt: int) -> str:
    """The name of an attempt's Job."""
    return f"{job.metadata.name}-{attempt}"


def _leader_address(job: training_job.TrainingJob, workers: int, attempt: int) -> str:
    """Worker 0 by its stable name; a gang of one meets itself."""
    if workers == 1:
        return _LOCAL
    return f"{job_name(job, attempt)}-0.{job.metadata.name}.{job.metadata.namespace}.svc"


def _index() -> dict[str, Any]:
    """The worker's rank, which the Job controller writes on the pod."""
    path = f"metadata.annotations['{names.COMPLETION_INDEX_ANNOTATION}']"
    return {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}


def _build_jax(leader: str, workers: int) -> list[dict[str, Any]]:
    return [
        {"name": "JAX_COORDINATOR_ADDRESS", "value": f"{leader}:{JAX_PORT}"},
        {"name": "JAX_NUM_PROCESSES", "value": str(workers)},
        {"name": "JAX_PROCESS_ID", "valueFrom": _index()},
    ]


def _build_torch(
    job: training_job.TrainingJob, leader: str, workers: int, per_worker: int, attempt: int
) -> list[dict[str, Any]]:
    return [
        {"name": "PET_NNODES", "value": str(workers)},
        {"name": "PET_NPROC_PER_NODE", "value": str(per_worker)},
        {"name": "PET_NODE_RANK", "valueFrom": _index()},
        {"name": "PET_MASTER_ADDR", "value": leader},
        {"name": "PET_MASTER_PORT", "value": str(TORCH_PORT)},
        {"name": "PET_RDZV_ID", "value": f"{job.metadata.uid}-{attempt}"},
    ]
