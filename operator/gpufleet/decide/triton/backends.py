"""Typed parameters of single backends → the string parameters that they read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tritonclient.grpc import model_config_pb2

from gpufleet.api import meta
from gpufleet.api.triton import model

# Field of the block → (key in the configuration, text of each value that is not its own text).
_BOOLEAN = {True: "1", False: "0"}
_WORD = {True: "true", False: "false"}
_YES = {True: "yes", False: "no"}
_KEYS: Mapping[str, Mapping[str, tuple[str, Mapping[Any, str]]]] = {
    "python": {
        "execution_environment_path": ("EXECUTION_ENV_PATH", {}),
        "force_cpu_only_input_tensors": ("FORCE_CPU_ONLY_INPUT_TENSORS", _YES),
    },
    "onnxruntime": {
        "intra_op_thread_count": ("intra_op_thread_count", {}),
        "inter_op_thread_count": ("inter_op_thread_count", {}),
        "execution_mode": ("execution_mode", {"Sequential": "0", "Parallel": "1"}),
        "enable_memory_arena": ("enable_mem_arena", _BOOLEAN),
        "enable_memory_pattern": ("enable_mem_pattern", _BOOLEAN),
    },
    "tensorrt": {
        "execution_context_allocation_strategy": (
            "execution_context_allocation_strategy",
            {"Static": "STATIC", "OnProfileChange": "ON_PROFILE_CHANGE"},
        ),
    },
    "pytorch": {
        "disable_optimized_execution": ("DISABLE_OPTIMIZED_EXECUTION", _WORD),
        "inference_mode": ("INFERENCE_MODE", _WORD),
        "enable_weight_sharing": ("ENABLE_WEIGHT_SHARING", _WORD),
        "enable_cache_cleaning": ("ENABLE_CACHE_CLEANING", _WORD),
        "intra_op_thread_count": ("INTRA_OP_THREAD_COUNT", {}),
        "inter_op_thread_count": ("INTER_OP_THREAD_COUNT", {}),
    },
    "vllm": {"report_custom_metrics": ("REPORT_CUSTOM_METRICS", _WORD)},
    "tensorrtllm": {
        "engine_directory": ("gpt_model_path", {}),
        "batching_type": ("gpt_model_type", {"InflightFused": "inflight_fused_batching", "V1": "V1"}),
        "scheduler_policy": (
            "batch_scheduler_policy",
            {"MaxUtilization": "max_utilization", "GuaranteedNoEvict": "guaranteed_no_evict"},
        ),
        "kv_cache_free_gpu_memory_percent": (
            "kv_cache_free_gpu_mem_fraction",
            {percent: f"{percent / 100:g}" for percent in range(1, 101)},
        ),
        "max_beam_width": ("max_beam_width", {}),
    },
}


def check(one: model.Model) -> Iterator[str]:
    """Contradictions between backend, blocks and parameters: field, value, fix."""
    blocks = [block for block in model.BACKEND_BLOCKS if getattr(one, block) is not None]
    if len(blocks) > 1:
        yield f"{' and '.join(blocks)} are parameters of different backends: keep one"
    elif blocks and one.backend and one.backend != blocks[0]:
        yield f"backend is {one.backend}, but there are parameters of {blocks[0]}: leave one of the two out"
    names = [parameter.name for parameter in one.parameters]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"parameters has {name} twice: keep one"
    for name in sorted(_typed(one).keys() & set(names)):
        yield f"parameters has {name}, which {blocks[0]} sets as well: leave one of the two out"


def add(config: model_config_pb2.ModelConfig, one: model.Model) -> None:
    """Writes backend and parameters into `config`."""
    config.backend = one.backend_name
    plain = {parameter.name: parameter.value for parameter in one.parameters}
    for name, value in {**plain, **_typed(one)}.items():
        config.parameters[name].string_value = value


def _typed(one: model.Model) -> dict[str, str]:
    """The parameters that the blocks amount to; a field that is unset adds none."""
    found: dict[str, str] = {}
    for block in model.BACKEND_BLOCKS:
        if (given := getattr(one, block)) is not None:
            found.update(_write(given, _KEYS[block]))
    return found


def _write(
    given: meta.Schema, keys: Mapping[str, tuple[str, Mapping[Any, str]]]
) -> Iterator[tuple[str, str]]:
    for field, (key, texts) in keys.items():
        value = getattr(given, field)
        if value is not None:
            yield key, texts.get(value, str(value))
