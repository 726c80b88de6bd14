"""TrainingJob: a gang of workers that train together."""

from __future__ import annotations

import datetime
from typing import Annotated

import pydantic

from gpufleet.api import accelerator as accelerators
from gpufleet.api import meta, pod, rules, training_gang, training_policy, training_record
from gpufleet.api import topology as topologies

KIND = "TrainingJob"
PLURAL = "trainingjobs"

IMMUTABLE = (
    "framework", "workers", "accelerator", "template", "priorityClassName", "parallelism", "precision",
    "torch", "mpi", "topology", "queue", "managedBy", "checkpoint", "progress",
)  # fmt: skip


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
    topology: Annotated[
        topologies.Topology | None,
        pydantic.Field(description="How near workers must be to each other; unset: anywhere in the pool."),
    ] = None
    torch: Annotated[
        training_gang.Torch | None, pydantic.Field(description="How torchrun's agents meet; unset: Static.")
    ] = None
    mpi: Annotated[
        training_gang.MPI | None, pydantic.Field(description="How mpirun reaches the workers.")
    ] = None
    failure_policy: Annotated[
        training_policy.FailurePolicy,
        pydantic.Field(description="What happens when a worker fails; may change while the job runs."),
    ] = training_policy.FailurePolicy()
    checkpoint: Annotated[
        training_policy.Checkpoint | None,
        pydantic.Field(description="Signal and grace for a last checkpoint; unset: SIGTERM and 30 s."),
    ] = None
    progress: Annotated[
        training_policy.Progress | None,
        pydantic.Field(description="Where worker 0 tells how far it is; unset: nowhere."),
    ] = None
    suspend: Annotated[
        bool,
        pydantic.Field(
            description="Ends the gang, which may write a checkpoint, and gives its place back until unset."
        ),
    ] = False
    active_deadline_seconds: Annotated[
        int | None,
        pydantic.Field(
            ge=1, le=2**31 - 1, description="Time that all attempts may run together; unset: any."
        ),
    ] = None
    ttl_seconds_after_finished: Annotated[
        int | None,
        pydantic.Field(
            ge=0,
            le=2**31 - 1,
            description="When Jobs and pods of a job that has ended go, with their logs; unset: with it. "
            "The TrainingJob itself stays as a record.",
        ),
    ] = None
    queue: Annotated[
        training_policy.Queue | None,
        pydantic.Field(description="Who admits the gang; unset: gpufleet, by priority and age."),
    ] = None
    managed_by: Annotated[
        str | None,
        pydantic.Field(
            min_length=1,
            max_length=63,
            pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?/[a-z0-9]([-.a-z0-9]*[a-z0-9])?$",
            description="Controller of this job; any but gpufleet.dev/operator keeps gpufleet off it.",
        ),
    ] = None
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
    placement: Annotated[
        topologies.Placement | None,
        pydantic.Field(
            description="Where its workers belong, or while it waits what is kept for it; unset: anywhere."
        ),
    ] = None
    resized_at: Annotated[
        datetime.datetime | None, pydantic.Field(description="When its size last changed while it ran.")
    ] = None
    shed_workers: Annotated[
        meta.Count,
        pydantic.Field(description="Workers that it gave up for others then, or within the hour before."),
    ] = 0
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
    history: Annotated[
        list[training_record.AttemptRecord],
        pydantic.Field(
            max_length=training_record.KEPT_RECORDS,
            description="The last attempts that have ended, the newest first.",
            json_schema_extra=rules.list_map("attempt"),
        ),
    ] = pydantic.Field(default_factory=list)
    progress: Annotated[
        training_record.Progress | None, pydantic.Field(description="How far the job is.")
    ] = None
    failures: Annotated[
        training_record.FailureCounts | None, pydantic.Field(description="Failed attempts by class.")
    ] = None
    usage: Annotated[
        training_record.Usage | None, pydantic.Field(description="What the job has cost so far.")
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
