"""Requests that fit a model, made from the configuration that its server shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy
from tritonclient import grpc, utils

_PREFIX = "TYPE_"
_STRING = "STRING"


def build_inputs(
    config: Any, batch: int, shapes: Mapping[str, Sequence[int]], fill: float
) -> list[grpc.InferInput]:
    """One tensor per input, all elements `fill`; `shapes` gives the dimensions that the model leaves open.

    Raises:
        ValueError: a dimension is open and not given, or the batch is larger than the model takes.
    """
    if batch > max(1, config.max_batch_size):
        raise ValueError(f"a batch of {batch} is more than {config.name} takes: {config.max_batch_size}")
    leading = [batch] if config.max_batch_size else []
    return [_build_input(one, leading, shapes, fill) for one in config.input if not one.optional]


def _build_input(
    tensor: Any, leading: list[int], shapes: Mapping[str, Sequence[int]], fill: float
) -> grpc.InferInput:
    dims = [*leading, *shapes.get(tensor.name, tensor.dims)]
    if any(size < 0 for size in dims):
        raise ValueError(f"input {tensor.name} has open dimensions {list(tensor.dims)}: give its shape")
    kind = _name_type(tensor)
    if kind == "BYTES":
        values = numpy.full(dims, str(fill).encode(), dtype=object)
    else:
        values = numpy.full(dims, fill, dtype=utils.triton_to_np_dtype(kind))
    made = grpc.InferInput(tensor.name, dims, kind)
    made.set_data_from_numpy(values)
    return made


def _name_type(tensor: Any) -> str:
    """config.pbtxt says TYPE_STRING for what the protocol calls BYTES."""
    field = tensor.DESCRIPTOR.fields_by_name["data_type"]
    name = field.enum_type.values_by_number[tensor.data_type].name.removeprefix(_PREFIX)
    return "BYTES" if name == _STRING else str(name)
