"""TrainingJob: a gang of workers that train together."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

import pydantic

from gpufleet.api import accelerator as accelerators
from gpufleet.api import meta, pod, rules

KIND = "TrainingJob"
PLURAL = "trainingjobs"

JAX_RENDEZVOUS_ENV = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
TORCH_RENDEZVOUS_ENV = (
    "PET_NNODES", "PET_NPROC_PER_NODE", "PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT",
    "PET_RDZV_BACKEND", "PET_RDZV_ENDPOINT", "PET_RDZV_ID", "PET_RDZV_CONF", "PET_MAX_RESTARTS",
)  # fmt: skip

Argument = Annotated[str, pydantic.Field(max_length=8192)]


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


class FailurePolicy(meta.Schema):
    """What happens when a worker fails: the whole gang starts again, so often at most."""

    max_restarts: Annotated[
        int, pydantic.Field(ge=0, le=100, description="Restarts of the whole gang; 0: fail at once.")
    ] = 1


def _rendezvous_belongs_to_gpufleet(framework: str, names: tuple[str, ...]) -> rules.Rule:
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


class TrainingJobSpec(meta.Schema):
    """What the ML engineer wants trained; immutable except failurePolicy."""

    model_config = pydantic.ConfigDict(
        json_schema_extra=rules.validated(
            NO_GANG_ON_SLICES,
            _rendezvous_belongs_to_gpufleet("JAX", JAX_RENDEZVOUS_ENV),
            _rendezvous_belongs_to_gpufleet("Torch", TORCH_RENDEZVOUS_ENV),
            *map(rules.immutable, ("framework", "workers", "accelerator", "template", "priorityClassName")),
        )
    )

    framework: Annotated[
        Literal["Torch", "JAX", "Plain"],
        pydantic.Field(description="Whose rendezvous environment the workers get; Plain: none."),
    ] = "Plain"
    workers: Annotated[Workers, pydantic.Field(description="Size of the gang.")]
    accelerator: Annotated[
        accelerators.Accelerator | None,
        pydantic.Field(description="What each worker needs; unset: CPU only."),
    ] = None
    template: Annotated[WorkerTemplate, pydantic.Field(description="What one worker runs.")]
    failure_policy: Annotated[
        FailurePolicy,
        pydantic.Field(description="What happens when a worker fails; may change while the job runs."),
    ] = FailurePolicy()
    priority_class_name: Annotated[
        pod.PriorityClassName | None,
        pydantic.Field(description="PriorityClass of the workers; unset: the cluster's default."),
    ] = None


class JobAssignment(meta.Schema):
    """What the fleet cycle gave this job; only the cycle writes it. Workers 0: it waits."""

    workers: Annotated[meta.Count, pydantic.Field(description="Workers that may run; 0: the job waits.")]
    accelerator: Annotated[
        accelerators.AssignedAccelerator | None, pydantic.Field(description="What each worker gets.")
    ] = None
    requested: Annotated[
        str, pydantic.Field(max_length=256, description="The accelerator block that this answers.")
    ] = ""
    reason: Annotated[meta.Reason, pydantic.Field(description="Why, in one CamelCase word.")] = ""
    message: Annotated[meta.Message, pydantic.Field(description="Why, in a sentence.")] = ""


class TrainingJobStatus(meta.Schema):
    """What gpufleet decided and why."""

    observed_generation: meta.ObservedGeneration = None
    conditions: meta.Conditions = pydantic.Field(default_factory=list)
    attempt: Annotated[
        meta.Count, pydantic.Field(description="Gang starts so far, the running one included.")
    ] = 0
    active_workers: Annotated[meta.Count, pydantic.Field(description="Workers that run now.")] = 0
    succeeded_workers: Annotated[meta.Count, pydantic.Field(description="Workers that have finished.")] = 0
    start_time: Annotated[
        datetime.datetime | None, pydantic.Field(description="When the first gang started.")
    ] = None
    completion_time: Annotated[
        datetime.datetime | None, pydantic.Field(description="When the job succeeded or failed for good.")
    ] = None
    assignment: Annotated[
        JobAssignment | None, pydantic.Field(description="What the fleet cycle gave this job.")
    ] = None


class TrainingJob(pydantic.BaseModel):
    """A gang of workers that train together: all of them run, or none."""

    model_config = pydantic.ConfigDict(
        frozen=True,
        extra="ignore",
        json_schema_extra=rules.validated(rules.name_of_children(KIND, meta.LONGEST_OBJECT_NAME)),
    )

    metadata: meta.ObjectMeta
    spec: TrainingJobSpec
    status: TrainingJobStatus = TrainingJobStatus()
