"""Optimisation settings. Triton passes them to backends, which read what they know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tritonclient.grpc import model_config_pb2

from gpufleet.api.triton import model, optimization


def check(one: model.Model) -> Iterator[str]:
    """What has no effect on this backend is refused rather than ignored: field, value, fix."""
    wanted = one.optimization
    backend = one.backend_name
    if wanted is not None and wanted.cuda is not None and backend not in ("", "tensorrt"):
        yield f"optimization.cuda is for tensorrt alone, and the backend is {backend}: leave it out"


def add(config: model_config_pb2.ModelConfig, one: model.Model) -> None:
    """Writes the settings into `config`."""
    wanted = one.optimization
    if wanted is None:
        return
    target = config.optimization
    if wanted.graph_level is not None:
        target.graph.level = wanted.graph_level
    target.priority = f"PRIORITY_{wanted.priority.upper()}"
    if wanted.cuda is not None:
        target.cuda.graphs = wanted.cuda.graphs
        target.cuda.busy_wait_events = wanted.cuda.busy_wait_events
        target.cuda.output_copy_stream = wanted.cuda.output_copy_stream
    providers = target.execution_accelerators
    _add_accelerators(providers.gpu_execution_accelerator, wanted.gpu_execution_accelerators)
    _add_accelerators(providers.cpu_execution_accelerator, wanted.cpu_execution_accelerators)
    if wanted.input_pinned_memory is not None:
        target.input_pinned_memory.enable = wanted.input_pinned_memory
    if wanted.output_pinned_memory is not None:
        target.output_pinned_memory.enable = wanted.output_pinned_memory
    target.gather_kernel_buffer_threshold = wanted.gather_kernel_buffer_threshold
    target.eager_batching = wanted.eager_batching


def _add_accelerators(target: Any, accelerators: Sequence[optimization.ExecutionAccelerator]) -> None:
    for accelerator in accelerators:
        added = target.add(name=accelerator.name)
        added.parameters.update(accelerator.parameters)
