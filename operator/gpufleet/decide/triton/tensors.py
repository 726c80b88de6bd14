"""Inputs and outputs. Rules: Triton's model_config_utils.cc, ValidateIOShape and ValidateModelInput."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from tritonclient.grpc import model_config_pb2

from gpufleet.api.triton import model, tensors

VARIABLE = -1


def check(one: model.Model) -> Iterator[str]:
    """What Triton would refuse, a sentence each: field, value, fix."""
    is_tensorrt = one.backend_name == "tensorrt"
    for field, found in (("inputs", one.inputs), ("outputs", one.outputs)):
        yield from _check_names(field, [tensor.name for tensor in found])
        for tensor in found:
            where = f"{field}[{tensor.name}]"
            if 0 in tensor.dims:
                yield f"{where}.dims holds 0: give the size, or -1 for a variable dimension"
            if tensor.is_shape_tensor and not is_tensorrt:
                yield f"{where}.isShapeTensor is for the tensorrt backend alone: leave it out"
            if tensor.reshape is not None:
                yield from _check_reshape(
                    where, tensor.dims, tensor.reshape.shape, batches=one.max_batch_size > 0
                )
    for tensor in one.inputs:
        if tensor.format and len(tensor.dims) != 3:
            yield (
                f"inputs[{tensor.name}].format {tensor.format} needs 3 dims, and there are "
                f"{len(tensor.dims)}: give height, width and channels, or leave format out"
            )


def add(config: model_config_pb2.ModelConfig, one: model.Model) -> None:
    """Writes inputs and outputs into `config`."""
    for source in one.inputs:
        config.input.add(
            **_common(source),
            format=f"FORMAT_{source.format or 'NONE'}",
            allow_ragged_batch=source.allow_ragged_batch,
            optional=source.optional,
        )
    for target in one.outputs:
        config.output.add(**_common(target), label_filename=target.label_filename or "")


def _common(tensor: tensors.Tensor) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": tensor.name,
        "data_type": f"TYPE_{tensor.data_type}",
        "dims": list(tensor.dims),
        "is_shape_tensor": tensor.is_shape_tensor,
    }
    if tensor.reshape is not None:
        fields["reshape"] = model_config_pb2.ModelTensorReshape(shape=tensor.reshape.shape)
    return fields


def _check_names(field: str, names: Sequence[str]) -> Iterator[str]:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        yield f"{field} names {twice[0]} twice: give each tensor its own name"


def _check_reshape(where: str, dims: Sequence[int], shape: Sequence[int], *, batches: bool) -> Iterator[str]:
    if not shape and not batches:
        yield (
            f"{where}.reshape.shape is empty, but maxBatchSize is 0 and leaves no dimension: "
            "give a shape, or set maxBatchSize"
        )
    elif 0 in shape:
        yield f"{where}.reshape.shape holds 0: give the size, or -1 for a variable dimension"
    elif _sizes(dims) != _sizes(shape):
        yield (
            f"{where}.reshape.shape {list(shape)} has not as many elements as dims {list(dims)}: "
            "make the products between variable dimensions equal"
        )


def _sizes(shape: Sequence[int]) -> list[int]:
    """Products of the runs that variable dimensions separate; a lone variable dimension matches any run."""
    sizes = [1]
    for dim in shape:
        if dim == VARIABLE:
            sizes.append(1)
        else:
            sizes[-1] = math.prod((sizes[-1], dim))
    return sizes
