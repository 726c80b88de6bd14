"""The sequence batcher. Rules: Triton's model_config_utils.cc and sequence_batch_scheduler.cc."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tritonclient.grpc import model_config_pb2

from gpufleet.api.triton import model, sequences
from gpufleet.decide.triton import batching
from gpufleet.decide.triton.tensors import VARIABLE

_FLAGS = {"INT32": "int32_false_true", "FP32": "fp32_false_true", "BOOL": "bool_false_true"}
_CORRELATION_IDS = ("UINT64", "INT64", "UINT32", "INT32", "STRING")
_KINDS = {"Start": "START", "Ready": "READY", "End": "END", "CorrelationID": "CORRID"}


def check(one: model.Model) -> Iterator[str]:
    """What Triton would refuse, a sentence each: field, value, fix."""
    wanted = one.sequence_batching
    if wanted is None:
        return
    if one.batching is not None:
        yield "sequenceBatching and batching are two schedulers of one model: leave one of the two out"
    if wanted.direct is not None and wanted.oldest is not None:
        yield "sequenceBatching.direct and oldest exclude each other: leave one of the two out"
    if one.response_cache:
        yield "responseCache is not for models with sequenceBatching: leave one of the two out"
    if wanted.oldest is not None:
        sizes = wanted.oldest.preferred_batch_sizes
        yield from batching.check_sizes(
            "sequenceBatching.oldest.preferredBatchSizes", sizes, one.max_batch_size
        )
    yield from _check_controls(wanted)
    yield from _check_states(wanted)


def add(config: model_config_pb2.ModelConfig, one: model.Model) -> None:
    """Writes the sequence batcher into `config`."""
    wanted = one.sequence_batching
    if wanted is None:
        return
    batcher = config.sequence_batching
    batcher.max_sequence_idle_microseconds = wanted.max_sequence_idle_microseconds
    batcher.iterative_sequence = wanted.iterative
    if wanted.oldest is not None:
        batcher.oldest.max_candidate_sequences = wanted.oldest.max_candidate_sequences
        batcher.oldest.preferred_batch_size.extend(sorted(wanted.oldest.preferred_batch_sizes))
        batcher.oldest.max_queue_delay_microseconds = wanted.oldest.max_queue_delay_microseconds
        batcher.oldest.preserve_ordering = wanted.oldest.preserve_ordering
    elif wanted.direct is not None:
        batcher.direct.max_queue_delay_microseconds = wanted.direct.max_queue_delay_microseconds
        batcher.direct.minimum_slot_utilization = wanted.direct.minimum_slot_utilization_percent / 100
    for tensor in wanted.control_inputs:
        added = batcher.control_input.add(name=tensor.name)
        added.control.extend(_build_control(control) for control in tensor.controls)
    batcher.state.extend(_build_state(state) for state in wanted.states)


def _build_control(control: sequences.Control) -> model_config_pb2.ModelSequenceBatching.Control:
    built = model_config_pb2.ModelSequenceBatching.Control(kind=f"CONTROL_SEQUENCE_{_KINDS[control.kind]}")
    if control.kind == "CorrelationID":
        built.data_type = model_config_pb2.DataType.Value(f"TYPE_{control.data_type}")
    else:
        flags = (control.false_value, control.true_value)
        cast = bool if control.data_type == "BOOL" else int
        getattr(built, _FLAGS[control.data_type]).extend(cast(flag) for flag in flags)
    return built


def _build_state(state: sequences.State) -> model_config_pb2.ModelSequenceBatching.State:
    built = model_config_pb2.ModelSequenceBatching.State(
        input_name=state.input_name,
        output_name=state.output_name,
        data_type=f"TYPE_{state.data_type}",
        dims=state.dims,
    )
    if (initial := state.initial_state) is not None:
        added = built.initial_state.add(
            name=initial.name, data_type=f"TYPE_{initial.data_type}", dims=initial.dims
        )
        if initial.data_file:
            added.data_file = initial.data_file
        else:
            added.zero_data = True
    return built


def _check_controls(wanted: sequences.SequenceBatching) -> Iterator[str]:
    names = Counter(tensor.name for tensor in wanted.control_inputs)
    kinds = Counter(control.kind for tensor in wanted.control_inputs for control in tensor.controls)
    for name in (name for name, count in names.items() if count > 1):
        yield f"sequenceBatching.controlInputs names {name} twice: list its controls under one name"
    for kind in (kind for kind, count in kinds.items() if count > 1):
        yield f"sequenceBatching.controlInputs has {kind} {kinds[kind]} times: keep one"
    for tensor in wanted.control_inputs:
        for control in tensor.controls:
            allowed = _CORRELATION_IDS if control.kind == "CorrelationID" else tuple(_FLAGS)
            if control.data_type not in allowed:
                yield (
                    f"sequenceBatching.controlInputs[{tensor.name}] has dataType {control.data_type} for "
                    f"{control.kind}: use one of {', '.join(allowed)}"
                )


def _check_states(wanted: sequences.SequenceBatching) -> Iterator[str]:
    for state in wanted.states:
        where = f"sequenceBatching.states[{state.input_name}]"
        if 0 in state.dims:
            yield f"{where}.dims holds 0: give the size, or -1 for a variable dimension"
        if (initial := state.initial_state) is None:
            continue
        if initial.data_type != state.data_type:
            yield (
                f"{where}.initialState.dataType is {initial.data_type}, but the state's is "
                f"{state.data_type}: use {state.data_type}"
            )
        if VARIABLE in initial.dims:
            yield f"{where}.initialState.dims holds -1: give the size that a sequence begins with"
        elif not _fits(initial.dims, state.dims):
            yield (
                f"{where}.initialState.dims {initial.dims} do not fit the state's dims {state.dims}: "
                "make them equal where the state's are not -1"
            )


def _fits(dims: list[int], pattern: list[int]) -> bool:
    if len(dims) != len(pattern):
        return False
    return all(wanted in (VARIABLE, dim) for dim, wanted in zip(dims, pattern, strict=True))
