"""TrainingJob: a gang of workers that train together."""

from __future__ import annotations

import datetime
from typing import Annotated

import pydantic

from gpufleet.api import accelerator as accelerators
from gpufleet.api import meta, pod, rules, training_gang

KIND = "TrainingJob"
PLURAL = "trainingjobs"

IMMUTABLE = (
    "framework", "workers", "accelerator", "template", "priorityClassName", "parallelism", "precision",
    "torch", "mpi",
)  # fmt: skip


class FailurePolicy(meta.Schema):
    """What happens when a worker fails: the whole gang starts again, so often at most."""

    max_restarts: Annotated[
        int, pydantic.Field(ge=0, le=100, description="Restarts of the whole gang; 0: fail at once.")
    ] = 1


class TrainingJobSpec(meta.Schema):
    """What the ML engineer wants trained; immutable except failurePolicy."""

    model_config = pydantic.ConfigDict(
        json_schema_extra=rules.validated(
            *training_gang.RULES,
            *map(rules.immutable, IMMUTABLE),
        )
    )

    framework: Annotated[
        training_gang.Framework,
        pydantic.Field(description="Whose rendezvous environment the workers get; Plain: none."),
    ] = "Plain"
    workers: Annotated[training_gang.Workers, pydantic.Field(description="Size of the gang.")]
    accelerator: Annotated[
        accelerators.Accelerator | None,
        pydantic.Field(description="What each worker needs; unset: CPU only."),
    ] = None
    template: Annotated[training_gang.WorkerTemplate, pydantic.Field(description="What one worker runs.")]
    parallelism: Annotated[
        training_gang.Parallelism | None,
        pydantic.Field(description="How the model is laid out over the devices; unset: not said."),
    ] = None
    precision: Annotated[
        training_gang.Precision | None,
        pydantic.Field(description="Number format of the matrix products; a device without it is warned of."),
    ] = None
    torch: Annotated[
        training_gang.Torch | None, pydantic.Field(description="How torchrun's agents meet; unset: Static.")
    ] = None
    mpi: Annotated[
        training_gang.MPI | None, pydantic.Field(description="How mpirun reaches the workers.")
    ] = None
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
