"""Copies of a model in one server, and what limits them together."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from gpufleet.api import meta, rules


class RateLimiterResource(meta.Schema):
    """What one execution takes from a pool that instances share."""

    name: Annotated[str, pydantic.Field(min_length=1, max_length=128, description="Name of the pool.")]
    is_global: Annotated[
        bool,
        pydantic.Field(alias="global", description="One pool for the server; otherwise one per device."),
    ] = False
    count: Annotated[int, pydantic.Field(ge=1, le=2**31 - 1, description="Copies that an execution takes.")]


class RateLimiter(meta.Schema):
    """When instances may execute."""

    resources: Annotated[
        list[RateLimiterResource],
        pydantic.Field(
            max_length=16,
            description="What an execution takes.",
            json_schema_extra=rules.list_map("name"),
        ),
    ] = pydantic.Field(default_factory=list)
    priority: Annotated[
        int, pydantic.Field(ge=0, le=2**31 - 1, description="Weight; 2 executes half as often as 1.")
    ] = 0


class InstanceGroup(meta.Schema):
    """How many copies of the model run in one server, and on what."""

    kind: Annotated[
        Literal["Auto", "GPU", "CPU", "Model"],
        pydantic.Field(description="What they run on; Auto: a GPU where the pod has one; Model: as it says."),
    ] = "Auto"
    count: Annotated[int, pydantic.Field(ge=1, le=64, description="Copies, per GPU where kind is GPU.")] = 1
    gpus: Annotated[
        list[Annotated[int, pydantic.Field(ge=0, le=15)]],
        pydantic.Field(max_length=16, description="Indices as the container sees them; empty: all."),
    ] = pydantic.Field(default_factory=list)
    rate_limiter: Annotated[
        RateLimiter | None, pydantic.Field(description="When they may execute; unset: at any time.")
    ] = None
    profiles: Annotated[
        list[Annotated[str, pydantic.Field(min_length=1, max_length=16, pattern=r"^[0-9]+$")]],
        pydantic.Field(max_length=16, description="Optimisation profiles of a TensorRT model."),
    ] = pydantic.Field(default_factory=list)
    passive: Annotated[
        bool, pydantic.Field(description="Loaded, but given no requests by the scheduler.")
    ] = False
    host_policy: Annotated[
        str | None, pydantic.Field(max_length=128, description="Host policy of the server to apply.")
    ] = None
