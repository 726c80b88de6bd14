"""Typed model → Triton's ModelConfig, checked by the rules Triton would apply at load.

The protobuf is tritonclient's own; this is the only module that imports it. Rules: Triton's
model_config.proto and model_config_utils.cc.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2

from gpufleet.api import triton_service


class ConfigError(ValueError):
    """A model that Triton would refuse; the message names field, value and fix."""


def build(model: triton_service.Model, *, has_accelerator: bool) -> model_config_pb2.ModelConfig:
    """The model's configuration. Raises ConfigError."""
    _check(model, has_accelerator=has_accelerator)
    config = model_config_pb2.ModelConfig(
        name=model.name, backend=model.backend or "", max_batch_size=model.max_batch_size
    )
    config.input.extend(model_config_pb2.ModelInput(**_tensor(tensor)) for tensor in model.inputs)
    config.output.extend(model_config_pb2.ModelOutput(**_tensor(tensor)) for tensor in model.outputs)
    for group in model.instance_groups:
        config.instance_group.add(kind=f"KIND_{group.kind.upper()}", count=group.count)
    if model.batching is not None and model.batching.mode == "Static":
        _add_batching(config, model.batching)
    for parameter in model.parameters:
        config.parameters[parameter.name].string_value = parameter.value
    return config


def to_json(config: model_config_pb2.ModelConfig) -> dict[str, Any]:
    """The form that Triton's load request takes."""
    document: dict[str, Any] = json_format.MessageToDict(config, preserving_proto_field_name=True)
    return document


def to_pbtxt(config: model_config_pb2.ModelConfig) -> str:
    """The form of a config.pbtxt file."""
    text: str = text_format.MessageToString(config)
    return text


def _tensor(tensor: triton_service.Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "data_type": f"TYPE_{tensor.data_type}", "dims": list(tensor.dims)}


def _add_batching(config: model_config_pb2.ModelConfig, batching: triton_service.Batching) -> None:
    # The batcher is on by the mere presence of its message.
    config.dynamic_batching.SetInParent()
    config.dynamic_batching.preferred_batch_size.extend(sorted(batching.preferred_batch_sizes))
    config.dynamic_batching.max_queue_delay_microseconds = batching.max_queue_delay_microseconds or 0


def _check(model: triton_service.Model, *, has_accelerator: bool) -> None:
    where = f"models[{model.name}]"
    for group in model.instance_groups:
        if group.kind == "GPU" and not has_accelerator:
            raise ConfigError(
                f"{where}.instanceGroups kind {group.kind} needs a GPU, but the service has no accelerator: "
                "set spec.accelerator, or kind CPU"
            )
    for field, tensors in (("inputs", model.inputs), ("outputs", model.outputs)):
        names = [tensor.name for tensor in tensors]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"{where}.{field} names {twice[0]} twice: give each tensor its own name")
    if model.batching is not None:
        _check_batching(where, model.max_batch_size, model.batching)


def _check_batching(where: str, max_batch_size: int, batching: triton_service.Batching) -> None:
    if batching.mode == "Disabled":
        return
    if max_batch_size < 1:
        raise ConfigError(
            f"{where}.batching needs a batch dimension, but maxBatchSize is 0: "
            "set maxBatchSize to at least 1, or batching.mode Disabled"
        )
    too_large = [size for size in batching.preferred_batch_sizes if size > max_batch_size]
    if too_large:
        raise ConfigError(
            f"{where}.batching.preferredBatchSizes has {too_large[0]}, "
            f"more than maxBatchSize {max_batch_size}: use at most {max_batch_size}"
        )
