"""Inputs and outputs of a model. The batch dimension is not part of their dims."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from gpufleet.api import meta, rules

DataType = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "FP32", "FP64", "STRING", "BF16",
]  # fmt: skip

TensorName = Annotated[str, pydantic.Field(min_length=1, max_length=256, description="Name of the tensor.")]
Dim = Annotated[int, pydantic.Field(ge=-1, le=2**31 - 1)]
Dims = Annotated[
    list[Dim],
    pydantic.Field(min_length=1, max_length=16, description="Shape; -1 is a variable dimension."),
]

FileName = Annotated[
    str,
    pydantic.Field(
        min_length=1,
        max_length=512,
        pattern=r"^[A-Za-z0-9_][-A-Za-z0-9_.]*(/[A-Za-z0-9_][-A-Za-z0-9_.]*)*$",
    ),
]
"""A file of the model. No part of it begins with a dot, so it stays within the model's folder."""


class Reshape(meta.Schema):
    """The shape that the backend sees in place of dims."""

    shape: Annotated[
        list[Dim],
        pydantic.Field(max_length=16, description="Shape; empty where only the batch dimension is left."),
    ] = pydantic.Field(default_factory=list)


class Tensor(meta.Schema):
    """What inputs and outputs have in common."""

    name: TensorName
    data_type: Annotated[DataType, pydantic.Field(description="Triton data type.")]
    dims: Annotated[
        list[Dim],
        pydantic.Field(
            min_length=1,
            max_length=16,
            description="Shape; -1 is a variable dimension.",
            json_schema_extra=rules.validated(
                rules.Rule(
                    rule="self.all(d, d != 0)",
                    message="dims may not hold 0: give the size, or -1 for a variable dimension",
                )
            ),
        ),
    ]
    reshape: Annotated[
        Reshape | None, pydantic.Field(description="Shape that the backend sees; unset: dims.")
    ] = None
    is_shape_tensor: Annotated[
        bool, pydantic.Field(description="Whether TensorRT reads the values as a shape.")
    ] = False


class Input(Tensor):
    """One input of a model."""

    format: Annotated[
        Literal["NHWC", "NCHW"] | None, pydantic.Field(description="Layout of an image; needs 3 dims.")
    ] = None
    allow_ragged_batch: Annotated[
        bool, pydantic.Field(description="Whether requests of different shapes may share a batch.")
    ] = False
    optional: Annotated[bool, pydantic.Field(description="Whether a request may leave it out.")] = False


class Output(Tensor):
    """One output of a model."""

    label_filename: Annotated[
        FileName | None,
        pydantic.Field(description="File in the model's folder with a label per class."),
    ] = None


Inputs = Annotated[list[Input], pydantic.Field(max_length=64, json_schema_extra=rules.list_map("name"))]
Outputs = Annotated[list[Output], pydantic.Field(max_length=64, json_schema_extra=rules.list_map("name"))]
