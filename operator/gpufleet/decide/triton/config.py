"""Typed model → Triton's ModelConfig, checked by the rules Triton would apply at load.

The protobuf is tritonclient's own; only this package imports it. A section of the configuration is a
module with `check` and `add`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2

from gpufleet.api.triton import model
from gpufleet.decide.triton import (
    backends,
    batching,
    ensembles,
    graph,
    instances,
    lifecycle,
    optimization,
    sequences,
    tensors,
)

_SECTIONS = (tensors, batching, sequences, ensembles, lifecycle, optimization, backends)


class ConfigError(ValueError):
    """Models that Triton would refuse; the message names field, value and fix of the first fault."""

    def __init__(self, faults: Sequence[str]) -> None:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        super().__init__(faults[0] + more)
        self.faults = tuple(faults)


def check(models: Sequence[model.Model], *, has_accelerator: bool) -> list[str]:
    """Everything that Triton would refuse in a service's models, each as `models[NAME].field …`."""
    own = [
        f"models[{one.name}].{fault}"
        for one in models
        for fault in _check_one(one, has_accelerator=has_accelerator)
    ]
    return own + [f"models[{name}].{fault}" for name, fault in graph.check(models)]


def build(one: model.Model) -> model_config_pb2.ModelConfig:
    """The configuration of a model that has been checked."""
    config = model_config_pb2.ModelConfig(
        name=one.name,
        max_batch_size=one.max_batch_size,
        default_model_filename=one.default_model_filename or "",
    )
    for section in _SECTIONS:
        section.add(config, one)
    instances.add(config, one)
    return config


def to_json(config: model_config_pb2.ModelConfig) -> dict[str, Any]:
    """The form that Triton's load request takes."""
    document: dict[str, Any] = json_format.MessageToDict(config, preserving_proto_field_name=True)
    return document


def to_pbtxt(config: model_config_pb2.ModelConfig) -> str:
    """The form of a config.pbtxt file."""
    text: str = text_format.MessageToString(config)
    return text


def _check_one(one: model.Model, *, has_accelerator: bool) -> Iterator[str]:
    for section in _SECTIONS:
        yield from section.check(one)
    yield from instances.check(one, has_accelerator=has_accelerator)
