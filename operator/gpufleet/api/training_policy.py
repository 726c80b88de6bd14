"""What is done with a gang over its life: failures, checkpoints, progress, and who admits it."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from gpufleet.api import meta

ExitCode = Annotated[int, pydantic.Field(ge=1, le=255)]


class FailurePolicy(meta.Schema):
    """What happens when a worker fails: the whole gang starts again, or the job ends."""

    max_restarts: Annotated[
        int,
        pydantic.Field(
            ge=0,
            le=100,
            description="Restarts after failures of the program; those of the infrastructure are free.",
        ),
    ] = 1
    max_attempts: Annotated[
        int, pydantic.Field(ge=1, le=1000, description="Failed attempts in all, free restarts included.")
    ] = 20
    backoff_seconds: Annotated[
        int,
        pydantic.Field(
            ge=0, le=3600, description="Wait before a restart; it doubles with each attempt that fails early."
        ),
    ] = 10
    max_backoff_seconds: Annotated[
        int, pydantic.Field(ge=0, le=86400, description="Longest wait before a restart.")
    ] = 360
    retry_exit_codes: Annotated[
        list[ExitCode],
        pydantic.Field(max_length=32, description="Exit codes that count as failures of the infrastructure."),
    ] = pydantic.Field(default=[40, 41, 138])
    fail_exit_codes: Annotated[
        list[ExitCode],
        pydantic.Field(max_length=32, description="Exit codes that end the job at once; they go first."),
    ] = pydantic.Field(default=[2, 42, 126, 127, 128])
    avoid_nodes_seconds: Annotated[
        int,
        pydantic.Field(
            ge=0,
            le=604800,
            description="How long new attempts stay off a node that failed, where there is room elsewhere.",
        ),
    ] = 3600


class Checkpoint(meta.Schema):
    """How a worker learns that it must write a checkpoint, and how long it may take."""

    signal: Annotated[
        Literal["SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2"],
        pydantic.Field(description="What process 1 gets first; any but SIGTERM needs /bin/sh in the image."),
    ] = "SIGTERM"
    grace_period_seconds: Annotated[
        int, pydantic.Field(ge=10, le=86400, description="Time until it is killed.")
    ] = 30


class Progress(meta.Schema):
    """Where worker 0 tells how far it is: GET /progress answers step, totalSteps, checkpoint as JSON."""

    port: Annotated[int, pydantic.Field(ge=1024, le=65535, description="Port of worker 0.")]
    stall_seconds: Annotated[
        int | None,
        pydantic.Field(
            ge=30,
            le=604800,
            description="Time without a new step after which the gang starts again; unset: never.",
        ),
    ] = None


class Queue(meta.Schema):
    """Who admits the gang, instead of gpufleet."""

    kind: Annotated[
        Literal["LocalQueue"],
        pydantic.Field(description="LocalQueue: Kueue, which must manage batch/v1 Jobs."),
    ]
    name: Annotated[
        str,
        pydantic.Field(
            min_length=1,
            max_length=63,
            pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$",
            description="Name of the queue, in this namespace.",
        ),
    ]
    priority_class_name: Annotated[
        str | None,
        pydantic.Field(
            min_length=1,
            max_length=63,
            pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$",
            description="WorkloadPriorityClass of Kueue; unset: by the PriorityClass of the workers.",
        ),
    ] = None
