"""ModelProfile: how long one model takes for a batch, as measured on its hardware."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

import pydantic

from gpufleet.api import meta, rules, tuning

KIND = "ModelProfile"
PLURAL = "modelprofiles"

Count = Annotated[int, pydantic.Field(ge=0, le=2**53)]
Rate = Annotated[float, pydantic.Field(ge=0, le=1e9)]


class Point(meta.Schema):
    """Batches of one size."""

    batch_size: Annotated[tuning.BatchSize, pydantic.Field(description="Items in the batch.")]
    count: Annotated[Count, pydantic.Field(description="Batches of this size.")]
    mean_microseconds: Annotated[
        tuning.Microseconds, pydantic.Field(description="Input, inference and output together.")
    ]


class Fit(meta.Schema):
    """The line through the points: a batch of b takes alpha + beta · b."""

    alpha_microseconds: Annotated[
        Annotated[float, pydantic.Field(ge=0, le=2**31)], pydantic.Field(description="Paid once per batch.")
    ]
    beta_microseconds: Annotated[
        Annotated[float, pydantic.Field(ge=0, le=2**31)], pydantic.Field(description="Paid per item.")
    ]
    r_squared: Annotated[
        Annotated[float, pydantic.Field(ge=0, le=1)],
        pydantic.Field(description="Share of the variance between batch sizes that the line explains."),
    ]
    error: Annotated[
        Annotated[float, pydantic.Field(ge=0, le=1000)],
        pydantic.Field(description="Root mean square of the relative residuals."),
    ]


class LoadPoint(meta.Schema):
    """One run of a profiling load."""

    batch_size: Annotated[tuning.BatchSize, pydantic.Field(description="Items per request.")]
    concurrency: Annotated[
        int, pydantic.Field(ge=1, le=4096, description="Requests that were on their way at a time.")
    ]
    throughput: Annotated[Rate, pydantic.Field(description="Items per second.")]
    p50_microseconds: Annotated[tuning.Microseconds, pydantic.Field(description="Median latency.")]
    p99_microseconds: Annotated[tuning.Microseconds, pydantic.Field(description="99th percentile.")]


class ModelProfileSpec(meta.Schema):
    """A record: who measured it writes it whole."""

    service: Annotated[meta.ReferenceName, pydantic.Field(description="TritonService of the model.")]
    model: Annotated[str, pydantic.Field(min_length=1, max_length=128, description="Name of the model.")]
    hardware: Annotated[
        str, pydantic.Field(max_length=512, description="Accelerator resource and products, or cpu.")
    ]
    source: Annotated[
        Literal["Live", "Load"],
        pydantic.Field(description="Live: users' requests; Load: `gpufleet profile`."),
    ] = "Live"
    measured_at: Annotated[datetime.datetime, pydantic.Field(description="When it was measured.")]
    instances: Annotated[
        tuning.Instances, pydantic.Field(description="Copies of the model in the server meanwhile.")
    ] = 1
    points: Annotated[
        list[Point],
        pydantic.Field(
            min_length=2,
            max_length=256,
            description="Mean time by batch size.",
            json_schema_extra=rules.list_map("batchSize"),
        ),
    ]
    fit: Annotated[Fit, pydantic.Field(description="The line through the points.")]
    load: Annotated[
        list[LoadPoint],
        pydantic.Field(max_length=256, description="Throughput and latency under a profiling load."),
    ] = pydantic.Field(default_factory=list)


class ModelProfile(pydantic.BaseModel):
    """How long one model takes for a batch, measured on its hardware; gpufleet writes it."""

    model_config = pydantic.ConfigDict(frozen=True, extra="ignore")

    metadata: meta.ObjectMeta
    spec: ModelProfileSpec
