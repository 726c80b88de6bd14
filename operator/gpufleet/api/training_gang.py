"""What a gang is made of: its size, what a worker runs, and how the model is laid out over the devices."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from gpufleet.api import meta, pod, rules

Framework = Literal["Torch", "JAX", "MPI", "DeepSpeed", "XGBoost", "Plain"]
Precision = Literal["FP32", "TF32", "FP16", "BF16", "FP8", "FP4"]

TORCH_ENV = (
    "PET_NNODES", "PET_NPROC_PER_NODE", "PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT",
    "PET_RDZV_BACKEND", "PET_RDZV_ENDPOINT", "PET_RDZV_ID", "PET_RDZV_CONF", "PET_MAX_RESTARTS",
)  # fmt: skip
JAX_ENV = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
MPI_ENV = (
    "OMPI_MCA_orte_default_hostfile", "OMPI_MCA_orte_keep_fqdn_hostnames", "OMPI_MCA_orte_set_default_slots",
    "OMPI_MCA_plm_rsh_args",
)  # fmt: skip
XGBOOST_ENV = ("DMLC_TRACKER_URI", "DMLC_TRACKER_PORT", "DMLC_TASK_ID", "DMLC_NUM_WORKER")
RESERVED_ENV: dict[str, tuple[str, ...]] = {
    "Torch": TORCH_ENV,
    "JAX": JAX_ENV,
    "MPI": MPI_ENV,
    "DeepSpeed": (*TORCH_ENV, *MPI_ENV),
    "XGBoost": XGBOOST_ENV,
}
"""What gpufleet sets, by framework: a worker that meets elsewhere than the others hangs."""

Argument = Annotated[str, pydantic.Field(max_length=8192)]
Ways = Annotated[int, pydantic.Field(ge=1, le=65536)]


class Workers(meta.Schema):
    """Size of the gang: as many workers as fit between min and max, all or none."""

    model_config = pydantic.ConfigDict(
        json_schema_extra=rules.validated(
            rules.Rule(
                rule="!has(self.min) || self.min <= self.max",
                message="workers.min exceeds workers.max: lower min or raise max",
                says="'min %d exceeds max %d: lower min or raise max'.format([self.min, self.max])",
                at=".min",
            )
        )
    )

    min: Annotated[
        int | None, pydantic.Field(ge=1, le=10000, description="Fewest workers to start with; unset: max.")
    ] = None
    max: Annotated[int, pydantic.Field(ge=1, le=10000, description="Most workers to start with.")]


class WorkerTemplate(meta.Schema):
    """What one worker runs."""

    image: Annotated[meta.Image, pydantic.Field(description="Container image.")]
    command: Annotated[
        list[Argument], pydantic.Field(max_length=64, description="Entrypoint; unset: the image's.")
    ] = pydantic.Field(default_factory=list)
    args: Annotated[
        list[Argument], pydantic.Field(max_length=256, description="Arguments of the entrypoint.")
    ] = pydantic.Field(default_factory=list)
    env: Annotated[list[pod.EnvVar], pod.env_vars(128)] = pydantic.Field(default_factory=list)
    resources: Annotated[
        pod.Resources | None, pydantic.Field(description="CPU and memory of one worker.")
    ] = None
    volumes: pod.Volumes = pydantic.Field(default_factory=list)
    image_pull_secrets: pod.PullSecrets = pydantic.Field(default_factory=list)


class Parallelism(meta.Schema):
    """How the model is laid out: data × tensor × pipeline × context = workers × devices of each."""

    data: Annotated[
        Ways | None,
        pydantic.Field(description="Copies of the model; unset: as many as the devices allow."),
    ] = None
    tensor: Annotated[Ways, pydantic.Field(description="Devices that share each layer.")] = 1
    pipeline: Annotated[Ways, pydantic.Field(description="Stages that the layers are cut into.")] = 1
    context: Annotated[Ways, pydantic.Field(description="Devices that share each sequence.")] = 1
    expert: Annotated[
        Ways,
        pydantic.Field(description="Devices that share the experts; it divides data × context."),
    ] = 1


class Torch(meta.Schema):
    """How torchrun's agents meet."""

    rendezvous: Annotated[
        Literal["Static", "Elastic"],
        pydantic.Field(
            description="Static: a fixed gang. Elastic: c10d, from workers.min agents up to workers.max."
        ),
    ] = "Static"
    max_restarts: Annotated[
        int,
        pydantic.Field(
            ge=0,
            le=1000,
            description="Restarts of processes in place, changes of membership included; Elastic only.",
        ),
    ] = 3
    join_timeout_seconds: Annotated[
        int, pydantic.Field(ge=10, le=86400, description="How long agents wait for each other; Elastic only.")
    ] = 900


class MPI(meta.Schema):
    """How mpirun in worker 0 reaches the others: by ssh, with a key that you bring."""

    ssh_secret_name: Annotated[
        meta.ReferenceName,
        pydantic.Field(description="Secret with ssh-privatekey and ssh-publickey, an ECDSA P-521 pair."),
    ]


def reserved_env(framework: str) -> rules.Rule:
    """A tenant cannot move the place where workers meet."""
    names = RESERVED_ENV[framework]
    listed = ", ".join(f"'{name}'" for name in names)
    return rules.Rule(
        rule=f"!has(self.framework) || self.framework != '{framework}' || !has(self.template.env) "
        f"|| self.template.env.all(e, !(e.name in [{listed}]))",
        message=f"with framework {framework}, env may not set {', '.join(names)}: gpufleet sets them; "
        "remove them, or use framework Plain",
        at=".template.env",
        reason="FieldValueForbidden",
    )


NO_GANG_ON_SLICES = rules.Rule(
    rule="!has(self.framework) || self.framework == 'Plain' || !has(self.accelerator) "
    "|| !has(self.accelerator.migProfile) || self.workers.max == 1",
    message="a gang cannot train on MIG slices, which have no peer-to-peer transport: "
    "ask for accelerator.count, or set workers.max to 1",
    says="'a %s gang of up to %d workers cannot train on MIG slices (%s), which have no peer-to-peer "
    "transport: ask for accelerator.count, or set workers.max to 1'"
    ".format([self.framework, self.workers.max, self.accelerator.migProfile])",
    at=".accelerator",
    reason="FieldValueForbidden",
)
"""NVIDIA's MIG User Guide lists GPU-to-GPU P2P, PCIe or NVLink, as unsupported with MIG."""


def _way(name: str) -> str:
    return f"(has(self.parallelism.{name}) ? self.parallelism.{name} : 1)"


_DEVICES = "(has(self.accelerator) && has(self.accelerator.count) ? self.accelerator.count : 1)"
_WORLD = f"(self.workers.max * {_DEVICES})"
_SPLIT = f"({_way('tensor')} * {_way('pipeline')} * {_way('context')})"
_NO_LAYOUT = "!has(self.parallelism)"
_FIX = "change parallelism, workers or accelerator.count"

SPLIT_FITS = rules.Rule(
    rule=f"{_NO_LAYOUT} || ({_WORLD} % {_SPLIT} == 0 "
    f"&& (!has(self.workers.min) || (self.workers.min * {_DEVICES}) % {_SPLIT} == 0))",
    message=f"tensor × pipeline × context must divide workers × devices of each: {_FIX}",
    says="'%d workers × %d devices = %d processes, and tensor × pipeline × context = %d must divide that "
    f"number, for workers.min too: {_FIX}'.format([self.workers.max, {_DEVICES}, {_WORLD}, {_SPLIT}])",
    at=".parallelism",
)
DATA_FITS = rules.Rule(
    rule=f"{_NO_LAYOUT} || !has(self.parallelism.data) || self.parallelism.data * {_SPLIT} == {_WORLD}",
    message=f"data × tensor × pipeline × context must equal workers × devices of each: {_FIX}",
    says="'%d workers × %d devices = %d processes, but data × tensor × pipeline × context = %d: "
    f"{_FIX}, or leave data out'"
    f".format([self.workers.max, {_DEVICES}, {_WORLD}, self.parallelism.data * {_SPLIT}])",
    at=".parallelism",
)
DATA_NEEDS_A_FIXED_GANG = rules.Rule(
    rule=f"{_NO_LAYOUT} || !has(self.parallelism.data) || !has(self.workers.min) "
    "|| self.workers.min == self.workers.max",
    message="parallelism.data fixes the size of the gang: leave it out, or set workers.min to workers.max",
    at=".parallelism.data",
)
EXPERTS_FIT = rules.Rule(
    rule=f"{_NO_LAYOUT} || ({_WORLD} / ({_way('tensor')} * {_way('pipeline')})) % {_way('expert')} == 0",
    message=f"parallelism.expert must divide data × context: {_FIX}",
    says="'parallelism.expert %d must divide data × context = %d: "
    f"{_FIX}'.format([{_way('expert')}, {_WORLD} / ({_way('tensor')} * {_way('pipeline')})])",
    at=".parallelism.expert",
)
"""As Megatron-LM: megatron/core/parallel_state.py, with experts that keep the tensor split."""
SLICES_FIT = rules.Rule(
    rule="!has(self.topology) || !has(self.topology.slices) "
    "|| (self.workers.max % self.topology.slices.size == 0 "
    "&& (!has(self.workers.min) || self.workers.min % self.topology.slices.size == 0))",
    message="topology.slices.size must divide workers.max and workers.min: change one of them",
    says="'topology.slices.size %d must divide workers.max %d, and workers.min too: change one of them'"
    ".format([self.topology.slices.size, self.workers.max])",
    at=".topology",
)


def _only_with(block: str, *frameworks: str) -> rules.Rule:
    listed = ", ".join(f"'{one}'" for one in frameworks)
    return rules.Rule(
        rule=f"!has(self.{block}) || (has(self.framework) && self.framework in [{listed}])",
        message=f"{block} is for framework {' or '.join(frameworks)}: remove it, or change framework",
        at=f".{block}",
        reason="FieldValueForbidden",
    )


MPI_NEEDS_A_KEY = rules.Rule(
    rule="!has(self.framework) || self.framework != 'MPI' || self.workers.max == 1 || has(self.mpi)",
    message="an MPI gang needs mpi.sshSecretName: mpirun in worker 0 starts the others by ssh",
    at=".framework",
)
MPI_NEEDS_A_COMMAND = rules.Rule(
    rule="!(has(self.mpi) || (has(self.framework) && self.framework == 'MPI')) "
    "|| (has(self.template.command) && self.template.command.size() > 0)",
    message="with MPI, template.command is needed: worker 0 runs it when the others answer",
    at=".template",
)

RULES = (
    NO_GANG_ON_SLICES,
    *map(reserved_env, RESERVED_ENV),
    SPLIT_FITS,
    DATA_FITS,
    DATA_NEEDS_A_FIXED_GANG,
    EXPERTS_FIT,
    SLICES_FIT,
    _only_with("torch", "Torch", "DeepSpeed"),
    _only_with("mpi", "MPI", "DeepSpeed"),
    MPI_NEEDS_A_KEY,
    MPI_NEEDS_A_COMMAND,
)
"""What one object can know about its gang."""
