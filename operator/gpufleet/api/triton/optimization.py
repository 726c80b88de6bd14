"""How Triton and its backends may speed a model up."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from gpufleet.api import meta, rules

Parameters = Annotated[
    dict[str, Annotated[str, pydantic.Field(max_length=1024)]], pydantic.Field(max_length=32)
]


class Cuda(meta.Schema):
    """CUDA features of the TensorRT backend."""

    graphs: Annotated[bool, pydantic.Field(description="Capture and replay CUDA graphs.")] = False
    busy_wait_events: Annotated[
        bool, pydantic.Field(description="Spin instead of sleep while waiting for the GPU.")
    ] = False
    output_copy_stream: Annotated[
        bool, pydantic.Field(description="Copy outputs in a stream of their own.")
    ] = False


class ExecutionAccelerator(meta.Schema):
    """An execution provider of the backend, such as tensorrt or openvino."""

    name: Annotated[str, pydantic.Field(min_length=1, max_length=64, description="Name of the provider.")]
    parameters: Annotated[Parameters, pydantic.Field(description="What the provider reads.")] = (
        pydantic.Field(default_factory=dict)
    )


ExecutionAccelerators = Annotated[
    list[ExecutionAccelerator],
    pydantic.Field(max_length=8, json_schema_extra=rules.list_map("name")),
]


class Optimization(meta.Schema):
    """How Triton and its backends may speed the model up."""

    graph_level: Annotated[
        int | None,
        pydantic.Field(ge=-1, le=3, description="Graph optimisation; -1: none, 1: as far as it goes."),
    ] = None
    priority: Annotated[
        Literal["Default", "Max", "Min"], pydantic.Field(description="Priority against other models.")
    ] = "Default"
    cuda: Annotated[Cuda | None, pydantic.Field(description="CUDA features of TensorRT.")] = None
    gpu_execution_accelerators: Annotated[
        ExecutionAccelerators, pydantic.Field(description="Providers for instances on GPUs, in order.")
    ] = pydantic.Field(default_factory=list)
    cpu_execution_accelerators: Annotated[
        ExecutionAccelerators, pydantic.Field(description="Providers for instances on CPUs, in order.")
    ] = pydantic.Field(default_factory=list)
    input_pinned_memory: Annotated[
        bool | None, pydantic.Field(description="Pinned buffers for inputs; unset: on.")
    ] = None
    output_pinned_memory: Annotated[
        bool | None, pydantic.Field(description="Pinned buffers for outputs; unset: on.")
    ] = None
    gather_kernel_buffer_threshold: Annotated[
        int, pydantic.Field(ge=0, le=2**31 - 1, description="Buffers from which a kernel gathers; 0: never.")
    ] = 0
    eager_batching: Annotated[
        bool, pydantic.Field(description="Prepare the next batch while one executes.")
    ] = False
