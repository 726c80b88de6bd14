"""TritonService: Triton servers that answer inference requests for a set of models."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from gpufleet.api import accelerator as accelerators
from gpufleet.api import meta, pod, rules
from gpufleet.api import model_repository as repositories

KIND = "TritonService"
PLURAL = "tritonservices"

ModelRepository = repositories.ModelRepository

DataType = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "FP32", "FP64", "STRING", "BF16",
]  # fmt: skip


class Tensor(meta.Schema):
    """One input or output of a model; the batch dimension is not part of dims."""

    name: Annotated[str, pydantic.Field(min_length=1, max_length=256, description="Name of the tensor.")]
    data_type: Annotated[DataType, pydantic.Field(description="Triton data type.")]
    dims: Annotated[
        list[Annotated[int, pydantic.Field(ge=-1, le=2**31 - 1)]],
        pydantic.Field(
            min_length=1,
            max_length=16,
            description="Shape; -1 is a variable dimension.",
            json_schema_extra=rules.validated(
                rules.Rule(
                    rule="self.all(d, d != 0)",
                    message="dims may not hold 0: give the size, or -1 for a variable dimension",
                )
            ),
        ),
    ]


Tensors = Annotated[list[Tensor], pydantic.Field(max_length=64, json_schema_extra=rules.list_map("name"))]


class Batching(meta.Schema):
    """Triton's dynamic batcher."""

    mode: Annotated[
        Literal["Static", "Disabled"],
        pydantic.Field(description="Static uses the values given here; Disabled turns the batcher off."),
    ] = "Static"
    max_queue_delay_microseconds: Annotated[
        int | None,
        pydantic.Field(ge=0, le=60_000_000, description="How long a request may wait for others; unset: 0."),
    ] = None
    preferred_batch_sizes: Annotated[
        list[Annotated[int, pydantic.Field(ge=1, le=65536)]],
        pydantic.Field(max_length=32, description="Batch sizes to form at once, each at most maxBatchSize."),
    ] = pydantic.Field(default_factory=list)


class InstanceGroup(meta.Schema):
    """How many copies of the model run in one server, and on what."""

    kind: Annotated[
        Literal["Auto", "GPU", "CPU", "Model"],
        pydantic.Field(description="What they run on; Auto: a GPU where the pod has one; Model: as it says."),
    ] = "Auto"
    count: Annotated[int, pydantic.Field(ge=1, le=64, description="Copies, per GPU where kind is GPU.")] = 1


class Parameter(meta.Schema):
    """A string parameter that the backend reads."""

    name: Annotated[str, pydantic.Field(min_length=1, max_length=256, description="Name of the parameter.")]
    value: Annotated[str, pydantic.Field(max_length=4096, description="Its value.")]


_MAX_BATCH = "(has(self.maxBatchSize) ? self.maxBatchSize : 0)"

BATCHER_NEEDS_BATCHES = rules.Rule(
    rule="!has(self.batching) || (has(self.batching.mode) && self.batching.mode == 'Disabled') "
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


class Model(meta.Schema):
    """One model of the repository and how Triton runs it."""

    model_config = pydantic.ConfigDict(
        json_schema_extra=rules.validated(BATCHER_NEEDS_BATCHES, PREFERRED_SIZES_FIT)
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
        pydantic.Field(max_length=64, pattern=r"^[a-z0-9_]+$", description="Unset: as config.pbtxt says."),
    ] = None
    max_batch_size: Annotated[
        int, pydantic.Field(ge=0, le=65536, description="0: the model takes no batch dimension.")
    ] = 0
    inputs: Annotated[Tensors, pydantic.Field(description="Inputs; empty: as the backend finds them.")] = (
        pydantic.Field(default_factory=list)
    )
    outputs: Annotated[Tensors, pydantic.Field(description="Outputs; empty: as the backend finds them.")] = (
        pydantic.Field(default_factory=list)
    )
    batching: Annotated[
        Batching | None, pydantic.Field(description="Triton's dynamic batcher; unset: off.")
    ] = None
    instance_groups: Annotated[
        list[InstanceGroup],
        pydantic.Field(
            max_length=8, description="Copies of the model in one server; empty: Triton's choice."
        ),
    ] = pydantic.Field(default_factory=list)
    parameters: Annotated[
        list[Parameter],
        pydantic.Field(
            max_length=64,
            description="String parameters that the backend reads.",
            json_schema_extra=rules.list_map("name"),
        ),
    ] = pydantic.Field(default_factory=list)


class ServerTemplate(meta.Schema):
    """What the author may say about the Triton container and its pod."""

    image: Annotated[
        meta.Image | None, pydantic.Field(description="Triton image; unset: the operator's default.")
    ] = None
    env: Annotated[list[pod.EnvVar], pod.env_vars(64)] = pydantic.Field(default_factory=list)
    resources: Annotated[
        pod.Resources | None, pydantic.Field(description="CPU and memory of the Triton container.")
    ] = None
    image_pull_secrets: pod.PullSecrets = pydantic.Field(default_factory=list)
    priority_class_name: Annotated[
        pod.PriorityClassName | None,
        pydantic.Field(description="PriorityClass of the pods; unset: the cluster's default."),
    ] = None


class TritonServiceSpec(meta.Schema):
    """What the ML engineer wants served."""

    model_repository: Annotated[
        ModelRepository,
        pydantic.Field(description="Where the models' files are: exactly one of the members."),
    ]
    models: Annotated[
        list[Model],
        pydantic.Field(
            min_length=1,
            max_length=64,
            description="Models that every server loads.",
            json_schema_extra=rules.list_map("name"),
        ),
    ]
    accelerator: Annotated[
        accelerators.Accelerator | None,
        pydantic.Field(description="What each server needs; unset: CPU only."),
    ] = None
    replicas: Annotated[
        int | None,
        pydantic.Field(ge=0, le=1000, description="Servers; unset keeps what was last assigned, at first 1."),
    ] = None
    template: Annotated[
        ServerTemplate | None, pydantic.Field(description="The Triton container and its pod.")
    ] = None


ModelState = Literal["Pending", "Loading", "Ready", "Failed"]


class ModelStatus(meta.Schema):
    """One model across all pods of the current revision."""

    name: Annotated[str, pydantic.Field(max_length=128, description="Name of the model.")]
    state: Annotated[ModelState, pydantic.Field(description="Ready once a pod answers requests for it.")]
    ready_pods: Annotated[meta.Count, pydantic.Field(description="Pods that answer requests for it.")] = 0
    message: Annotated[
        meta.Message, pydantic.Field(description="Triton's own words where loading failed.")
    ] = ""


class ServiceAssignment(meta.Schema):
    """What the fleet cycle gave this service; only the cycle writes it."""

    replicas: Annotated[meta.Count, pydantic.Field(description="Servers that may run.")]
    accelerator: Annotated[
        accelerators.AssignedAccelerator | None, pydantic.Field(description="What each server gets.")
    ] = None
    requested: Annotated[
        str, pydantic.Field(max_length=256, description="The accelerator block that this answers.")
    ] = ""
    reason: Annotated[meta.Reason, pydantic.Field(description="Why, in one CamelCase word.")] = ""
    message: Annotated[meta.Message, pydantic.Field(description="Why, in a sentence.")] = ""


class TritonServiceStatus(meta.Schema):
    """What gpufleet decided and why."""

    observed_generation: meta.ObservedGeneration = None
    conditions: meta.Conditions = pydantic.Field(default_factory=list)
    replicas: Annotated[meta.Count, pydantic.Field(description="Pods of this service.")] = 0
    ready_replicas: Annotated[meta.Count, pydantic.Field(description="Pods whose models are all ready.")] = 0
    selector: Annotated[
        str,
        pydantic.Field(max_length=1024, description="Label selector of the pods, for the scale subresource."),
    ] = ""
    revision: Annotated[
        str, pydantic.Field(max_length=63, description="Hash of the pod template that rolls out or runs.")
    ] = ""
    endpoint: Annotated[
        str, pydantic.Field(max_length=512, description="host:port of the HTTP endpoint in the cluster.")
    ] = ""
    models: Annotated[
        list[ModelStatus],
        pydantic.Field(
            max_length=64, description="State of every model.", json_schema_extra=rules.list_map("name")
        ),
    ] = pydantic.Field(default_factory=list)
    assignment: Annotated[
        ServiceAssignment | None, pydantic.Field(description="What the fleet cycle gave this service.")
    ] = None


class TritonService(pydantic.BaseModel):
    """Triton servers that answer inference requests for a set of models."""

    model_config = pydantic.ConfigDict(
        frozen=True,
        extra="ignore",
        json_schema_extra=rules.validated(rules.name_of_children(KIND, meta.LONGEST_OBJECT_NAME)),
    )

    metadata: meta.ObjectMeta
    spec: TritonServiceSpec
    status: TritonServiceStatus = TritonServiceStatus()
