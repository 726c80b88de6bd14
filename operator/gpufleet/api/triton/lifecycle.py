"""Versions, warm-up and the response cache: what surrounds executions of a model."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from gpufleet.api import meta, rules
from gpufleet.api.triton import tensors


class VersionPolicy(meta.Schema):
    """Which versions in the repository are loaded."""

    type: Annotated[
        Literal["Latest", "All", "Specific"], pydantic.Field(description="How versions are chosen.")
    ] = "Latest"
    num_versions: Annotated[
        int, pydantic.Field(ge=1, le=64, description="How many of the latest; for Latest.")
    ] = 1
    versions: Annotated[
        list[Annotated[int, pydantic.Field(ge=1, le=2**53)]],
        pydantic.Field(max_length=64, description="The versions themselves; for Specific."),
    ] = pydantic.Field(default_factory=list)


class WarmupInput(meta.Schema):
    """A tensor of a warm-up request."""

    name: tensors.TensorName
    data_type: Annotated[tensors.DataType, pydantic.Field(description="Triton data type.")]
    dims: Annotated[
        list[Annotated[int, pydantic.Field(ge=1, le=2**31 - 1)]],
        pydantic.Field(max_length=16, description="Shape without the batch dimension; no -1."),
    ] = pydantic.Field(default_factory=list)
    data: Annotated[
        Literal["Zero", "Random", "File"], pydantic.Field(description="Where the values come from.")
    ] = "Zero"
    data_file: Annotated[
        tensors.FileName | None,
        pydantic.Field(description="File under warmup in the model's folder; for File."),
    ] = None


class Warmup(meta.Schema):
    """Requests that a model answers before it is ready."""

    name: Annotated[str, pydantic.Field(min_length=1, max_length=128, description="Name for messages.")]
    batch_size: Annotated[
        int, pydantic.Field(ge=0, le=65536, description="Batch size; 0 where there is no batch dimension.")
    ] = 1
    inputs: Annotated[
        list[WarmupInput],
        pydantic.Field(
            max_length=64, description="Every input of the model.", json_schema_extra=rules.list_map("name")
        ),
    ] = pydantic.Field(default_factory=list)
    count: Annotated[int, pydantic.Field(ge=1, le=1000, description="How often it is sent.")] = 1
