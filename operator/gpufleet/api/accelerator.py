"""The accelerator block: the same in every kind that needs a GPU or a slice of one."""

from __future__ import annotations

from typing import Annotated

import pydantic

from gpufleet.api import meta, rules

DeviceClass = Annotated[
    str, pydantic.Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
]


class Accelerator(meta.Schema):
    """What one pod needs: a class, and at most one of count, memory, migProfile (default: count 1).

    Count asks for whole devices, migProfile for one slice of that profile, memory for the smallest
    slice or device that offers this much.
    """

    model_config = pydantic.ConfigDict(
        json_schema_extra=rules.validated(rules.at_most_one("accelerator", "count", "memory", "migProfile"))
    )

    device_class: Annotated[
        DeviceClass | None,
        pydantic.Field(
            alias="class", description="Device class, such as h100, h200 or a100-40gb; unset takes any."
        ),
    ] = None
    count: Annotated[int | None, pydantic.Field(ge=1, le=64, description="Whole devices per pod.")] = None
    memory: Annotated[
        meta.MemoryQuantity | None,
        pydantic.Field(description="Device memory that one pod needs, such as 16Gi."),
    ] = None
    mig_profile: Annotated[
        str | None,
        pydantic.Field(
            max_length=32,
            pattern=r"^[1-7]g\.[0-9]+gb([+-](me|gfx)(\.all)?)?$",
            description="MIG profile of the one slice per pod, such as 1g.10gb.",
        ),
    ] = None


class AssignedAccelerator(meta.Schema):
    """What the fleet cycle chose for an accelerator block; it stays until the block changes."""

    resource: Annotated[str, pydantic.Field(max_length=253, description="Extended resource name.")]
    count: Annotated[int, pydantic.Field(ge=1, le=64, description="Units of the resource per pod.")]
    products: Annotated[
        list[Annotated[str, pydantic.Field(max_length=63)]],
        pydantic.Field(max_length=32, description="Values of nvidia.com/gpu.product that fit; empty: any."),
    ] = pydantic.Field(default_factory=list)
    pool: Annotated[str | None, pydantic.Field(max_length=63, description="GPUPool that serves it.")] = None
