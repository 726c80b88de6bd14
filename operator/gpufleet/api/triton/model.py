"""One model: its files' name, its tensors, and how Triton runs it."""

from __future__ import annotations

from typing import Annotated

import pydantic

from gpufleet.api import meta, rules
from gpufleet.api.triton import backends, ensembles, instances, lifecycle, sequences, tensors
from gpufleet.api.triton import batching as batchers
from gpufleet.api.triton import optimization as optimizations

BACKEND_BLOCKS = ("python", "onnxruntime", "tensorrt", "pytorch", "vllm", "tensorrtllm")
"""Members with the parameters of one backend, named like the backend."""


class Parameter(meta.Schema):
    """A string parameter that the backend reads."""

    name: Annotated[str, pydantic.Field(min_length=1, max_length=256, description="Name of the parameter.")]
    value: Annotated[str, pydantic.Field(max_length=4096, description="Its value.")]


_MAX_BATCH = "(has(self.maxBatchSize) ? self.maxBatchSize : 0)"

BATCHER_NEEDS_BATCHES = rules.Rule(
    rule="!has(self.batching) || (has(self.batching.mode) && self.batching.mode == 'Disabled') "
    "|| has(self.batching.defaultQueuePolicy) || has(self.batching.priorityLevels) "
    f"|| {_MAX_BATCH} >= 1",
    message="batching needs maxBatchSize of at least 1: set it, or set batching.mode to Disabled",
    says="'model ' + self.name + ': batching needs maxBatchSize of at least 1, and it is 0: set it, "
    "or set batching.mode to Disabled'",
    at=".batching",
)
PREFERRED_SIZES_FIT = rules.Rule(
    rule="!has(self.batching) || !has(self.batching.preferredBatchSizes) "
    f"|| self.batching.preferredBatchSizes.all(n, n <= {_MAX_BATCH})",
    message="preferredBatchSizes may not exceed maxBatchSize: remove the larger sizes or raise maxBatchSize",
    says="'model %s: preferredBatchSizes %s exceed maxBatchSize %d: remove them or raise maxBatchSize'"
    f".format([self.name, self.batching.preferredBatchSizes.filter(n, n > {_MAX_BATCH}), {_MAX_BATCH}])",
    at=".batching.preferredBatchSizes",
)
ONE_SCHEDULER = rules.at_most_one("a model", "batching", "sequenceBatching", "ensemble")
ONE_BACKEND = rules.at_most_one("a model", *BACKEND_BLOCKS, "ensemble")


class Model(meta.Schema):
    """One model of the repository and how Triton runs it."""

    model_config = pydantic.ConfigDict(
        json_schema_extra=rules.validated(
            BATCHER_NEEDS_BATCHES, PREFERRED_SIZES_FIT, ONE_SCHEDULER, ONE_BACKEND
        )
    )

    name: Annotated[
        str,
        pydantic.Field(
            min_length=1,
            max_length=128,
            pattern=r"^[A-Za-z0-9_][-A-Za-z0-9_.]*$",
            description="Name of the model, which is its folder in the repository.",
        ),
    ]
    backend: Annotated[
        str | None,
        pydantic.Field(
            max_length=64,
            pattern=r"^[a-z0-9_]+$",
            description="Unset: that of the backend's block below, or as config.pbtxt says.",
        ),
    ] = None
    memory: Annotated[
        meta.MemoryQuantity | None,
        pydantic.Field(
            description="Device memory of one copy, as far as known: models that do not fit together are "
            "refused before they run; unset: not counted."
        ),
    ] = None
    max_batch_size: Annotated[
        int, pydantic.Field(ge=0, le=65536, description="0: the model takes no batch dimension.")
    ] = 0
    inputs: Annotated[
        tensors.Inputs, pydantic.Field(description="Inputs; empty: as the backend finds them.")
    ] = pydantic.Field(default_factory=list)
    outputs: Annotated[
        tensors.Outputs, pydantic.Field(description="Outputs; empty: as the backend finds them.")
    ] = pydantic.Field(default_factory=list)
    batching: Annotated[
        batchers.Batching | None, pydantic.Field(description="Triton's dynamic batcher; unset: off.")
    ] = None
    sequence_batching: Annotated[
        sequences.SequenceBatching | None,
        pydantic.Field(description="Triton's sequence batcher, for models with state; unset: off."),
    ] = None
    ensemble: Annotated[
        ensembles.Ensemble | None,
        pydantic.Field(description="A graph of other models of this service; it has no files of its own."),
    ] = None
    instance_groups: Annotated[
        list[instances.InstanceGroup],
        pydantic.Field(
            max_length=8, description="Copies of the model in one server; empty: Triton's choice."
        ),
    ] = pydantic.Field(default_factory=list)
    version_policy: Annotated[
        lifecycle.VersionPolicy | None,
        pydantic.Field(description="Versions to load; unset: the latest one."),
    ] = None
    warmups: Annotated[
        list[lifecycle.Warmup],
        pydantic.Field(
            max_length=16,
            description="Requests that it answers before it is ready.",
            json_schema_extra=rules.list_map("name"),
        ),
    ] = pydantic.Field(default_factory=list)
    response_cache: Annotated[
        bool, pydantic.Field(description="Whether equal requests are answered from the server's cache.")
    ] = False
    decoupled: Annotated[
        bool, pydantic.Field(description="Whether a request may have no, one or many responses.")
    ] = False
    optimization: Annotated[
        optimizations.Optimization | None, pydantic.Field(description="How to speed it up.")
    ] = None
    default_model_filename: Annotated[
        tensors.FileName | None,
        pydantic.Field(description="File in the version's folder; unset: the backend's usual name."),
    ] = None
    parameters: Annotated[
        list[Parameter],
        pydantic.Field(
            max_length=64,
            description="String parameters that the backend reads.",
            json_schema_extra=rules.list_map("name"),
        ),
    ] = pydantic.Field(default_factory=list)
    python: Annotated[
        backends.Python | None, pydantic.Field(description="Parameters of the python backend.")
    ] = None
    onnxruntime: Annotated[
        backends.OnnxRuntime | None, pydantic.Field(description="Parameters of the onnxruntime backend.")
    ] = None
    tensorrt: Annotated[
        backends.TensorRt | None, pydantic.Field(description="Parameters of the tensorrt backend.")
    ] = None
    pytorch: Annotated[
        backends.PyTorch | None, pydantic.Field(description="Parameters of the pytorch backend.")
    ] = None
    vllm: Annotated[backends.Vllm | None, pydantic.Field(description="Parameters of the vllm backend.")] = (
        None
    )
    tensorrtllm: Annotated[
        backends.TensorRtLlm | None, pydantic.Field(description="Parameters of the tensorrtllm backend.")
    ] = None

    @property
    def backend_name(self) -> str:
        """The backend by name or by block; empty where config.pbtxt says it."""
        blocks = (block for block in BACKEND_BLOCKS if getattr(self, block) is not None)
        return self.backend or next(blocks, "")
