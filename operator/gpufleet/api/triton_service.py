"""TritonService: Triton servers that answer inference requests for a set of models."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from gpufleet.api import accelerator as accelerators
from gpufleet.api import meta, pod

KIND = "TritonService"
PLURAL = "tritonservices"

DataType = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "FP32", "FP64", "STRING", "BF16",
]  # fmt: skip


class Tensor(meta.Schema):
    """One input or output of a model; the batch dimension is not part of dims."""

    name: Annotated[str, pydantic.Field(min_length=1, max_length=256)]
    data_type: DataType
    dims: Annotated[
        list[Annotated[int, pydantic.Field(ge=-1)]],
        pydantic.Field(min_length=1, max_length=16, description="Shape; -1 is a variable dimension."),
    ]


class Batching(meta.Schema):
    """Triton's dynamic batcher."""

    mode: Annotated[
        Literal["Static", "Disabled"],
        pydantic.Field(description="Static uses the values given here; Disabled turns the batcher off."),
    ] = "Static"
    max_queue_delay_microseconds: Annotated[
        int | None, pydantic.Field(ge=0, le=60_000_000, description="How long a request may wait for others.")
    ] = None
    preferred_batch_sizes: Annotated[
        list[Annotated[int, pydantic.Field(ge=1, le=65536)]],
        pydantic.Field(max_length=32, description="Batch sizes to form at once, each at most maxBatchSize."),
    ] = pydantic.Field(default_factory=list)


class InstanceGroup(meta.Schema):
    """How many copies of the model run in one server, and on what."""

    kind: Literal["Auto", "GPU", "CPU", "Model"] = "Auto"
    count: Annotated[int, pydantic.Field(ge=1, le=64)] = 1


class Parameter(meta.Schema):
    """A string parameter that the backend reads."""

    name: Annotated[str, pydantic.Field(min_length=1, max_length=256)]
    value: Annotated[str, pydantic.Field(max_length=4096)]


class Model(meta.Schema):
    """One model of the repository and how Triton runs it."""

    name: Annotated[
        str, pydantic.Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_][-A-Za-z0-9_.]*$")
    ]
    backend: Annotated[
        str | None,
        pydantic.Field(max_length=64, pattern=r"^[a-z0-9_]+$", description="Unset: as config.pbtxt says."),
    ] = None
    max_batch_size: Annotated[
        int, pydantic.Field(ge=0, le=65536, description="0: the model takes no batch dimension.")
    ] = 0
    inputs: Annotated[list[Tensor], pydantic.Field(max_length=64)] = pydantic.Field(default_factory=list)
    outputs: Annotated[list[Tensor], pydantic.Field(max_length=64)] = pydantic.Field(default_factory=list)
    batching: Batching | None = None
    instance_groups: Annotated[list[InstanceGroup], pydantic.Field(max_length=8)] = pydantic.Field(
        default_factory=list
    )
    parameters: Annotated[list[Parameter], pydantic.Field(max_length=64)] = pydantic.Field(
        default_factory=list
    )


class ClaimRepository(meta.Schema):
    """A model repository on a PersistentVolumeClaim, mounted read-only."""

    claim_name: Annotated[
        str, pydantic.Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$")
    ]
    path: Annotated[
        str | None,
        pydantic.Field(max_length=1024, pattern=r"^[^/:.][^:]*$", description="Folder within the volume."),
    ] = None


class ImageRepository(meta.Schema):
    """A model repository in an OCI image, mounted as an image volume (Kubernetes 1.33 and newer)."""

    reference: Annotated[str, pydantic.Field(min_length=1, max_length=1000)]
    pull_policy: Literal["Always", "Never", "IfNotPresent"] | None = None


class KeyToPath(meta.Schema):
    """A key of the ConfigMap and the file it becomes."""

    key: Annotated[str, pydantic.Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
    path: Annotated[str, pydantic.Field(min_length=1, max_length=1024, pattern=r"^[^/:.][^:]*$")]


class ConfigMapRepository(meta.Schema):
    """A repository of small python models in a ConfigMap, such as key double.py at double/1/model.py."""

    name: Annotated[
        str, pydantic.Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$")
    ]
    items: Annotated[list[KeyToPath], pydantic.Field(min_length=1, max_length=256)]


class ModelRepository(meta.Schema):
    """Where the models' files are: exactly one of the members."""

    persistent_volume_claim: ClaimRepository | None = None
    image: ImageRepository | None = None
    config_map: ConfigMapRepository | None = None


class ServerTemplate(meta.Schema):
    """What the author may say about the Triton container and its pod."""

    image: Annotated[
        str | None,
        pydantic.Field(min_length=1, max_length=1000, description="Unset: the operator's default."),
    ] = None
    env: Annotated[list[pod.EnvVar], pydantic.Field(max_length=64)] = pydantic.Field(default_factory=list)
    resources: pod.Resources | None = None
    image_pull_secrets: Annotated[list[pod.LocalObjectReference], pydantic.Field(max_length=8)] = (
        pydantic.Field(default_factory=list)
    )
    priority_class_name: Annotated[str | None, pydantic.Field(max_length=253)] = None


class TritonServiceSpec(meta.Schema):
    """What the ML engineer wants served."""

    model_repository: ModelRepository
    models: Annotated[list[Model], pydantic.Field(min_length=1, max_length=64)]
    accelerator: accelerators.Accelerator | None = None
    replicas: Annotated[
        int | None,
        pydantic.Field(ge=0, le=1000, description="Servers; unset keeps what was last assigned, at first 1."),
    ] = None
    template: ServerTemplate | None = None


ModelState = Literal["Pending", "Loading", "Ready", "Failed"]


class ModelStatus(meta.Schema):
    """One model across all pods of the current revision."""

    name: str
    state: ModelState
    ready_pods: int = 0
    message: Annotated[str, pydantic.Field(max_length=1024)] = ""


class ServiceAssignment(meta.Schema):
    """What the fleet cycle gave this service; only the cycle writes it."""

    replicas: Annotated[int, pydantic.Field(ge=0)]
    accelerator: accelerators.AssignedAccelerator | None = None
    reason: Annotated[str, pydantic.Field(max_length=128)] = ""
    message: Annotated[str, pydantic.Field(max_length=1024)] = ""


class TritonServiceStatus(meta.Schema):
    """What gpufleet decided and why."""

    observed_generation: int | None = None
    conditions: list[meta.Condition] = pydantic.Field(default_factory=list)
    replicas: int = 0
    ready_replicas: int = 0
    selector: str = ""
    revision: str = ""
    endpoint: Annotated[str, pydantic.Field(description="host:port of the HTTP endpoint in the cluster.")] = (
        ""
    )
    models: list[ModelStatus] = pydantic.Field(default_factory=list)
    assignment: ServiceAssignment | None = None


class TritonService(pydantic.BaseModel):
    """One TritonService as the API server holds it."""

    model_config = pydantic.ConfigDict(frozen=True, extra="ignore")

    metadata: meta.ObjectMeta
    spec: TritonServiceSpec
    status: TritonServiceStatus = TritonServiceStatus()
