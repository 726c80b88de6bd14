"""The latency that a service is to keep, and what was chosen to keep it."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

import pydantic

from gpufleet.api import meta

Percentile = Literal["P50", "P90", "P95", "P99"]
QUANTILES: dict[str, float] = {"P50": 0.5, "P90": 0.9, "P95": 0.95, "P99": 0.99}
"""The share of requests that each percentile stands for."""

Microseconds = Annotated[int, pydantic.Field(ge=0, le=2**31 - 1)]
BatchSize = Annotated[int, pydantic.Field(ge=1, le=65536)]
Instances = Annotated[int, pydantic.Field(ge=1, le=64)]
Percent = Annotated[int, pydantic.Field(ge=0, le=1000)]


class LatencyObjective(meta.Schema):
    """So many of a model's requests are answered by the server within so long, queue included."""

    percentile: Annotated[Percentile, pydantic.Field(description="Share of the requests.")] = "P99"
    target_milliseconds: Annotated[
        int, pydantic.Field(ge=1, le=600_000, description="Time in which they are answered.")
    ]


class Objective(meta.Schema):
    """What the service promises; tuning and scaling keep it."""

    latency: Annotated[LatencyObjective, pydantic.Field(description="Latency of every model.")]


class BatchSetting(meta.Schema):
    """What can be chosen of a model's batching."""

    batch_size: Annotated[BatchSize, pydantic.Field(description="Size at which a batch is full.")]
    max_queue_delay_microseconds: Annotated[
        Microseconds, pydantic.Field(description="How long a request may wait for others.")
    ] = 0
    instances: Annotated[Instances, pydantic.Field(description="Copies of the model in one server.")] = 1


class Trial(meta.Schema):
    """A setting that one pod runs, or all of them to be confirmed."""

    setting: Annotated[BatchSetting, pydantic.Field(description="What is tried.")]
    pod: Annotated[str, pydantic.Field(max_length=253, description="Pod that runs it; empty: all.")] = ""
    started_at: Annotated[datetime.datetime, pydantic.Field(description="When the trial began.")]
    baseline_microseconds: Annotated[
        Microseconds | None,
        pydantic.Field(description="Latency of the setting before it, at the objective's percentile."),
    ] = None


Phase = Literal["Measuring", "Trial", "Confirming", "Tuned", "Returned"]


class TuningStatus(meta.Schema):
    """What was chosen for one model, from what, and why."""

    phase: Annotated[
        Phase,
        pydantic.Field(
            description="Measuring until a line is known, Trial on one pod, Confirming on all, Tuned, or "
            "Returned to the setting before."
        ),
    ] = "Measuring"
    setting: Annotated[BatchSetting, pydantic.Field(description="What all pods but the trial's run.")]
    trial: Annotated[Trial | None, pydantic.Field(description="What is being tried.")] = None
    question: Annotated[
        str,
        pydantic.Field(max_length=16, description="Hash of the profile, objective and limits answered."),
    ] = ""
    contention_percent: Annotated[
        Percent | None,
        pydantic.Field(description="What a second busy instance costs the first, once a trial has shown it."),
    ] = None
    message: Annotated[meta.Message, pydantic.Field(description="Inputs, choice and reason.")] = ""
