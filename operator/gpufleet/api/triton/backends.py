"""What single backends read from a model's parameters, typed. Names of keys: each backend's own README."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from gpufleet.api import meta

Threads = Annotated[int, pydantic.Field(ge=0, le=1024)]


class Python(meta.Schema):
    """Parameters of the python backend."""

    execution_environment_path: Annotated[
        str | None, pydantic.Field(max_length=1024, description="Packed conda environment to run in.")
    ] = None
    force_cpu_only_input_tensors: Annotated[
        bool | None, pydantic.Field(description="Whether inputs are moved to the CPU first; unset: yes.")
    ] = None


class OnnxRuntime(meta.Schema):
    """Parameters of the onnxruntime backend."""

    intra_op_thread_count: Annotated[
        Threads | None, pydantic.Field(description="Threads within an operator; 0 or unset: one per core.")
    ] = None
    inter_op_thread_count: Annotated[
        Threads | None, pydantic.Field(description="Threads across operators; used by Parallel.")
    ] = None
    execution_mode: Annotated[
        Literal["Sequential", "Parallel"] | None,
        pydantic.Field(description="Operators one after another, or beside each other; unset: Sequential."),
    ] = None
    enable_memory_arena: Annotated[
        bool | None, pydantic.Field(description="Keep freed CPU memory for reuse; unset: yes.")
    ] = None
    enable_memory_pattern: Annotated[
        bool | None, pydantic.Field(description="Plan memory by the first run's pattern; unset: yes.")
    ] = None


class TensorRt(meta.Schema):
    """Parameters of the tensorrt backend."""

    execution_context_allocation_strategy: Annotated[
        Literal["Static", "OnProfileChange"] | None,
        pydantic.Field(description="When memory of activations is allocated; unset: Static."),
    ] = None


class PyTorch(meta.Schema):
    """Parameters of the pytorch backend."""

    disable_optimized_execution: Annotated[
        bool | None, pydantic.Field(description="Skip the optimisation that makes first calls slow.")
    ] = None
    inference_mode: Annotated[
        bool | None, pydantic.Field(description="Run without autograd's bookkeeping; unset: yes.")
    ] = None
    enable_weight_sharing: Annotated[
        bool | None, pydantic.Field(description="Instances on one device share weights; unset: no.")
    ] = None
    enable_cache_cleaning: Annotated[
        bool | None, pydantic.Field(description="Empty the CUDA cache after each execution; unset: no.")
    ] = None
    intra_op_thread_count: Annotated[
        Threads | None, pydantic.Field(description="Threads within an operator.")
    ] = None
    inter_op_thread_count: Annotated[
        Threads | None, pydantic.Field(description="Threads across operators.")
    ] = None


class Vllm(meta.Schema):
    """Parameters of the vllm backend; the engine's own are in the model's model.json."""

    report_custom_metrics: Annotated[
        bool | None, pydantic.Field(description="Report vLLM's latencies and token counts as metrics.")
    ] = None


class TensorRtLlm(meta.Schema):
    """Parameters of the tensorrtllm backend."""

    engine_directory: Annotated[
        str | None, pydantic.Field(max_length=1024, description="Folder of the built engine.")
    ] = None
    batching_type: Annotated[
        Literal["InflightFused", "V1"] | None, pydantic.Field(description="Which batcher the engine uses.")
    ] = None
    scheduler_policy: Annotated[
        Literal["MaxUtilization", "GuaranteedNoEvict"] | None,
        pydantic.Field(description="Whether a running request may be paused for others."),
    ] = None
    kv_cache_free_gpu_memory_percent: Annotated[
        int | None,
        pydantic.Field(ge=1, le=100, description="Share of the memory left by weights for the KV cache."),
    ] = None
    max_beam_width: Annotated[
        int | None, pydantic.Field(ge=1, le=1024, description="Widest beam search.")
    ] = None
