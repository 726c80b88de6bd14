"""Triton's sequence batcher: requests that belong together reach the same instance."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from gpufleet.api import meta, rules
from gpufleet.api.triton import batching, tensors


class Direct(meta.Schema):
    """Every sequence has a slot of its own until it ends."""

    max_queue_delay_microseconds: Annotated[
        batching.QueueDelay, pydantic.Field(description="How long a request may wait for those of others.")
    ] = 0
    minimum_slot_utilization_percent: Annotated[
        int,
        pydantic.Field(ge=0, le=100, description="Share of slots to fill before the delay is cut short."),
    ] = 0


class Oldest(meta.Schema):
    """Sequences share a dynamic batch, the oldest request first."""

    max_candidate_sequences: Annotated[
        int,
        pydantic.Field(
            ge=1, le=1_000_000, description="Sequences that one instance follows at the same time."
        ),
    ]
    preferred_batch_sizes: Annotated[
        batching.BatchSizes, pydantic.Field(description="Batch sizes to form at once.")
    ] = pydantic.Field(default_factory=list)
    max_queue_delay_microseconds: Annotated[
        batching.QueueDelay, pydantic.Field(description="How long a request may wait for those of others.")
    ] = 0
    preserve_ordering: Annotated[
        bool, pydantic.Field(description="Whether responses leave in the order of their requests.")
    ] = False


class Control(meta.Schema):
    """One signal in a control tensor."""

    kind: Annotated[
        Literal["Start", "Ready", "End", "CorrelationID"],
        pydantic.Field(description="What the tensor tells the model."),
    ]
    data_type: Annotated[
        tensors.DataType,
        pydantic.Field(description="INT32, FP32 or BOOL; an integer or STRING for CorrelationID."),
    ] = "INT32"
    false_value: Annotated[
        int, pydantic.Field(ge=-(2**31), le=2**31 - 1, description="Value that says no.")
    ] = 0
    true_value: Annotated[
        int, pydantic.Field(ge=-(2**31), le=2**31 - 1, description="Value that says yes.")
    ] = 1


class ControlInput(meta.Schema):
    """A tensor by which Triton tells the model where a sequence begins and ends."""

    name: tensors.TensorName
    controls: Annotated[
        list[Control],
        pydantic.Field(
            min_length=1,
            max_length=4,
            description="Signals that it carries.",
            json_schema_extra=rules.list_map("kind"),
        ),
    ]


class InitialState(meta.Schema):
    """What a state holds when a sequence begins: zeros or a file."""

    name: Annotated[str, pydantic.Field(min_length=1, max_length=256, description="Name for messages.")]
    data_type: Annotated[tensors.DataType, pydantic.Field(description="Triton data type.")]
    dims: tensors.Dims
    data_file: Annotated[
        tensors.FileName | None,
        pydantic.Field(description="File under initial_state in the model's folder; unset: zeros."),
    ] = None


class State(meta.Schema):
    """A tensor that Triton keeps between the requests of a sequence."""

    input_name: tensors.TensorName
    output_name: tensors.TensorName
    data_type: Annotated[tensors.DataType, pydantic.Field(description="Triton data type.")]
    dims: tensors.Dims
    initial_state: Annotated[
        InitialState | None, pydantic.Field(description="Value at the start; unset: the model's own care.")
    ] = None


class SequenceBatching(meta.Schema):
    """Triton's sequence batcher."""

    model_config = pydantic.ConfigDict(
        json_schema_extra=rules.validated(rules.at_most_one("sequenceBatching", "direct", "oldest"))
    )

    direct: Annotated[
        Direct | None, pydantic.Field(description="A slot for every sequence; the default.")
    ] = None
    oldest: Annotated[Oldest | None, pydantic.Field(description="Dynamic batches of sequences.")] = None
    max_sequence_idle_microseconds: Annotated[
        batching.Microseconds,
        pydantic.Field(description="How long a sequence may be silent before its slot is freed."),
    ] = 1_000_000
    control_inputs: Annotated[
        list[ControlInput],
        pydantic.Field(
            max_length=8, description="Control tensors.", json_schema_extra=rules.list_map("name")
        ),
    ] = pydantic.Field(default_factory=list)
    states: Annotated[
        list[State],
        pydantic.Field(
            max_length=16,
            description="State that Triton keeps.",
            json_schema_extra=rules.list_map("inputName"),
        ),
    ] = pydantic.Field(default_factory=list)
    iterative: Annotated[
        bool, pydantic.Field(description="Whether a request may be scheduled again until it is done.")
    ] = False
