"""How workers of a gang find each other: each framework's own variables.

torchrun reads PET_*: every option of torch.distributed.run in upper case. JAX: jax.distributed.initialize.
XGBoost: rabit's tracker, which worker 0 starts. DeepSpeed runs under torchrun, or under mpirun with spec.mpi.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from gpufleet.api import training_gang, training_job, training_policy
from gpufleet.decide.training import layout, mpi
from gpufleet.state import names

JAX_PORT = 29500
TORCH_PORT = 29500
TORCH_ELASTIC_PORT = 29400
XGBOOST_PORT = 29500
SHUTDOWN_MARGIN_S = 5
"""torchrun must give up its workers before the kubelet gives up torchrun."""
_LOCAL = "localhost"

Variables = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True, slots=True)
class Gang:
    """One attempt: so many workers, with so many devices each, at least 1."""

    job: training_job.TrainingJob
    workers: int
    per_worker: int
    attempt: int

    @property
    def leader(self) -> str:
        """Worker 0 by its stable name; a gang of one meets itself."""
        return _LOCAL if self.workers == 1 else host(self.job, self.attempt, 0)


def build(job: training_job.TrainingJob, workers: int, per_worker: int, attempt: int) -> Variables:
    """What gpufleet sets in one worker; `per_worker` is its number of devices, at least 1."""
    gang = Gang(job, workers, per_worker, attempt)
    if mpi.is_launched(job):
        meeting = mpi.build_env() if workers > 1 else []
    else:
        meeting = _BUILD[job.spec.framework](gang)
    return [_plain("GPUFLEET_ATTEMPT", attempt), *layout.build_env(job, workers, per_worker), *meeting]


def build_defaults(job: training_job.TrainingJob) -> Variables:
    """What a template may say otherwise: torchrun's file for the first error, and its wait at the end."""
    port = [_plain("GPUFLEET_PROGRESS_PORT", job.spec.progress.port)] if job.spec.progress else []
    if job.spec.framework not in ("Torch", "DeepSpeed"):
        return port
    checkpoint = job.spec.checkpoint or training_policy.Checkpoint()
    return [
        *port,
        _plain("TORCHELASTIC_ERROR_FILE", "/dev/termination-log"),
        _plain("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", checkpoint.grace_period_seconds - SHUTDOWN_MARGIN_S),
    ]


def job_name(job: training_job.TrainingJob, attempt: int) -> str:
    """The name of an attempt's Job."""
    return f"{job.metadata.name}-{attempt}"


def host(job: training_job.TrainingJob, attempt: int, index: int) -> str:
    """The name that the headless Service gives a worker."""
    return f"{job_name(job, attempt)}-{index}.{job.metadata.name}.{job.metadata.namespace}.svc"


def port(job: training_job.TrainingJob) -> int:
    """Where the workers meet."""
    if mpi.is_launched(job):
        return mpi.SSH_PORT
    return TORCH_ELASTIC_PORT if _is_elastic(job) else TORCH_PORT


def _plain(name: str, value: object) -> dict[str, Any]:
    return {"name": name, "value": str(value)}


def _index(name: str) -> dict[str, Any]:
    """The worker's rank, which the Job controller writes on the pod."""
    path = f"metadata.annotations['{names.COMPLETION_INDEX_ANNOTATION}']"
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def _is_elastic(job: training_job.TrainingJob) -> bool:
    return job.spec.torch is not None and job.spec.torch.rendezvous == "Elastic"


def _build_plain(_: Gang) -> Variables:
    return []


def _build_jax(gang: Gang) -> Variables:
    return [
        _plain("JAX_COORDINATOR_ADDRESS", f"{gang.leader}:{JAX_PORT}"),
        _plain("JAX_NUM_PROCESSES", gang.workers),
        _index("JAX_PROCESS_ID"),
    ]


def _build_torch(gang: Gang) -> Variables:
    if _is_elastic(gang.job):
        return _build_elastic(gang, gang.job.spec.torch or training_gang.Torch())
    return [
        _plain("PET_NNODES", gang.workers),
        _plain("PET_NPROC_PER_NODE", gang.per_worker),
        _index("PET_NODE_RANK"),
        _plain("PET_MASTER_ADDR", gang.leader),
        _plain("PET_MASTER_PORT", TORCH_PORT),
        _plain("PET_RDZV_ID", f"{gang.job.metadata.uid}-{gang.attempt}"),
    ]


def _build_elastic(gang: Gang, options: training_gang.Torch) -> Variables:
    """The store is in worker 0; an id of the attempt's own keeps those of an earlier one out."""
    workers = gang.job.spec.workers
    return [
        _plain("PET_NNODES", f"{min(workers.min or workers.max, gang.workers)}:{workers.max}"),
        _plain("PET_NPROC_PER_NODE", gang.per_worker),
        _plain("PET_RDZV_BACKEND", "c10d"),
        _plain("PET_RDZV_ENDPOINT", f"{gang.leader}:{TORCH_ELASTIC_PORT}"),
        _plain("PET_RDZV_ID", f"{gang.job.metadata.uid}-{gang.attempt}"),
        _plain("PET_RDZV_CONF", f"join_timeout={options.join_timeout_seconds}"),
        _plain("PET_MAX_RESTARTS", options.max_restarts),
    ]


def _build_xgboost(gang: Gang) -> Variables:
    return [
        _plain("DMLC_TRACKER_URI", gang.leader),
        _plain("DMLC_TRACKER_PORT", XGBOOST_PORT),
        _index("DMLC_TASK_ID"),
        _plain("DMLC_NUM_WORKER", gang.workers),
    ]


_BUILD: Mapping[str, Callable[[Gang], Variables]] = {
    "Plain": _build_plain,
    "JAX": _build_jax,
    "Torch": _build_torch,
    "DeepSpeed": _build_torch,
    "XGBoost": _build_xgboost,
}
