"""TrainingJob: a gang of workers that train together."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

import pydantic

from gpufleet.api import accelerator as accelerators
from gpufleet.api import meta, pod

KIND = "TrainingJob"
PLURAL = "trainingjobs"


class Workers(meta.Schema):
    """Size of the gang: as many workers as fit between min and max, all or none."""

    min: Annotated[int | None, pydantic.Field(ge=1, le=10000, description="Unset: max.")] = None
    max: Annotated[int, pydantic.Field(ge=1, le=10000)]


class WorkerTemplate(meta.Schema):
    """What one worker runs."""

    image: Annotated[str, pydantic.Field(min_length=1, max_length=1000)]
    command: Annotated[
        list[Annotated[str, pydantic.Field(max_length=8192)]], pydantic.Field(max_length=64)
    ] = pydantic.Field(default_factory=list)
    args: Annotated[list[Annotated[str, pydantic.Field(max_length=8192)]], pydantic.Field(max_length=256)] = (
        pydantic.Field(default_factory=list)
    )
    env: Annotated[list[pod.EnvVar], pydantic.Field(max_length=128)] = pydantic.Field(default_factory=list)
    resources: pod.Resources | None = None
    volumes: Annotated[list[pod.Volume], pydantic.Field(max_length=16)] = pydantic.Field(default_factory=list)
    image_pull_secrets: Annotated[list[pod.LocalObjectReference], pydantic.Field(max_length=8)] = (
        pydantic.Field(default_factory=list)
    )


class FailurePolicy(meta.Schema):
    """What happens when a worker fails: the whole gang starts again, so often at most."""

    max_restarts: Annotated[int, pydantic.Field(ge=0, le=100)] = 1


class TrainingJobSpec(meta.Schema):
    """What the ML engineer wants trained; immutable except failurePolicy."""

    framework: Annotated[
        Literal["Torch", "JAX", "Plain"],
        pydantic.Field(description="Whose rendezvous environment the workers get."),
    ] = "Plain"
    workers: Workers
    accelerator: accelerators.Accelerator | None = None
    template: WorkerTemplate
    failure_policy: FailurePolicy = FailurePolicy()
    priority_class_name: Annotated[str | None, pydantic.Field(max_length=253)] = None


class JobAssignment(meta.Schema):
    """What the fleet cycle gave this job; only the cycle writes it. Workers 0: it waits."""

    workers: Annotated[int, pydantic.Field(ge=0)]
    accelerator: accelerators.AssignedAccelerator | None = None
    reason: Annotated[str, pydantic.Field(max_length=128)] = ""
    message: Annotated[str, pydantic.Field(max_length=1024)] = ""


class TrainingJobStatus(meta.Schema):
    """What gpufleet decided and why."""

    observed_generation: int | None = None
    conditions: list[meta.Condition] = pydantic.Field(default_factory=list)
    attempt: Annotated[
        int, pydantic.Field(ge=0, description="Gang starts so far, the running one included.")
    ] = 0
    active_workers: int = 0
    succeeded_workers: int = 0
    start_time: datetime.datetime | None = None
    completion_time: datetime.datetime | None = None
    assignment: JobAssignment | None = None


class TrainingJob(pydantic.BaseModel):
    """One TrainingJob as the API server holds it."""

    model_config = pydantic.ConfigDict(frozen=True, extra="ignore")

    metadata: meta.ObjectMeta
    spec: TrainingJobSpec
    status: TrainingJobStatus = TrainingJobStatus()
