"""What a TrainingJob's status keeps of its attempts: how each ended, and what they cost."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

import pydantic

from gpufleet.api import meta

KEPT_RECORDS = 10

EndedBy = Literal[
    "Completed",
    "Suspended",
    "PlacesLost",
    "Preempted",
    "Resized",
    "Infrastructure",
    "UserError",
    "OutOfMemory",
    "Stalled",
    "ProgramError",
    "DeadlineExceeded",
]
"""How an attempt ended."""
NO_FAILURE: tuple[EndedBy, ...] = ("Completed", "Suspended", "PlacesLost", "Preempted", "Resized")
"""What costs the job none of its attempts."""

Number = Annotated[int, pydantic.Field(ge=0, le=2**53)]


class AttemptRecord(meta.Schema):
    """One attempt that has ended."""

    attempt: Annotated[meta.Count, pydantic.Field(description="Its number, from 1.")]
    ended_by: Annotated[EndedBy, pydantic.Field(description="How it ended.")]
    message: Annotated[meta.Message, pydantic.Field(description="Why, with the end of the log.")] = ""
    worker: Annotated[
        str, pydantic.Field(max_length=253, description="Pod that failed first; empty: none is known.")
    ] = ""
    node: Annotated[
        str, pydantic.Field(max_length=253, description="Node that is suspected; empty: none is.")
    ] = ""
    exit_code: Annotated[
        int | None, pydantic.Field(ge=-(2**31), le=2**31 - 1, description="Exit code of that worker.")
    ] = None
    workers: Annotated[meta.Count, pydantic.Field(description="Size of the gang.")] = 0
    start_time: Annotated[
        datetime.datetime | None, pydantic.Field(description="When its Job started, if it did.")
    ] = None
    end_time: Annotated[datetime.datetime, pydantic.Field(description="When it ended.")]


class Progress(meta.Schema):
    """How far the job was when it last told of a checkpoint, or when its last attempt ended."""

    step: Annotated[Number, pydantic.Field(description="Steps done.")]
    total_steps: Annotated[Number | None, pydantic.Field(description="Steps in all.")] = None
    checkpoint_step: Annotated[
        Number | None, pydantic.Field(description="Step of the newest checkpoint.")
    ] = None
    checkpoint_time: Annotated[
        datetime.datetime | None, pydantic.Field(description="When the newest checkpoint was written.")
    ] = None
    reported_at: Annotated[datetime.datetime, pydantic.Field(description="When the job said so.")]


class FailureCounts(meta.Schema):
    """Failed attempts by class, over the whole life of the job."""

    infrastructure: Annotated[meta.Count, pydantic.Field(description="Free of charge.")] = 0
    out_of_memory: Annotated[meta.Count, pydantic.Field(description="The second one ends the job.")] = 0
    program_error: Annotated[meta.Count, pydantic.Field(description="Counted against maxRestarts.")] = 0
    stalled: Annotated[meta.Count, pydantic.Field(description="Counted against maxRestarts.")] = 0
    final: Annotated[meta.Count, pydantic.Field(description="Those that no restart would mend.")] = 0


class Usage(meta.Schema):
    """What the job has cost so far; the running attempt is added when it ends."""

    queue_seconds: Annotated[
        Number, pydantic.Field(description="From creation until the first gang started.")
    ] = 0
    run_seconds: Annotated[Number, pydantic.Field(description="Time of all attempts.")] = 0
    accelerator_seconds: Annotated[
        Number, pydantic.Field(description="Accelerators or slices held × time of all attempts.")
    ] = 0
