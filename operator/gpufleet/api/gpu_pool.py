"""GPUPool: which nodes belong together and what every pod on them gets."""

from __future__ import annotations

from typing import Annotated

import pydantic

from gpufleet.api import accelerator as accelerators
from gpufleet.api import meta, mig_policy, pod, rules
from gpufleet.api import topology as topologies

KIND = "GPUPool"
PLURAL = "gpupools"

LONGEST_POOL_NAME = 63

LabelValue = Annotated[
    str, pydantic.Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")
]


Price = Annotated[float, pydantic.Field(ge=0, le=1e6)]


class PodDefaults(meta.Schema):
    """Merged into every child pod that runs on this pool."""

    tolerations: Annotated[
        list[pod.Toleration], pydantic.Field(max_length=32, description="Taints that the pods accept.")
    ] = pydantic.Field(default_factory=list)
    runtime_class_name: Annotated[
        str | None,
        pydantic.Field(
            min_length=1,
            max_length=253,
            pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$",
            description="RuntimeClass of the pods, such as nvidia; unset: the node's default.",
        ),
    ] = None
    env: Annotated[list[pod.EnvVar], pod.env_vars(64)] = pydantic.Field(default_factory=list)


class GPUPoolSpec(meta.Schema):
    """What the platform team says about these nodes."""

    node_selector: Annotated[
        dict[str, LabelValue],
        pydantic.Field(
            min_length=1, max_length=16, description="Labels that every node of the pool carries."
        ),
    ]
    device_class: Annotated[
        accelerators.DeviceClass | None,
        pydantic.Field(description="Device class of the nodes; unset: read from the product label."),
    ] = None
    max_nodes: Annotated[
        int | None,
        pydantic.Field(
            ge=0,
            le=100_000,
            description="Nodes to which a node autoscaler may grow the pool: services grow into those to "
            "come, so that their Pending pods reach it; unset: none come.",
        ),
    ] = None
    price_per_gpu_hour: Annotated[
        Price | None,
        pydantic.Field(
            alias="pricePerGPUHour",
            description="What one whole GPU costs for an hour, in a currency that all pools share; unset: "
            "GPUs are compared by their number.",
        ),
    ] = None
    topology: Annotated[
        topologies.PoolTopology | None,
        pydantic.Field(description="How the network is built; gangs then get their nodes; unset: not known."),
    ] = None
    pod_defaults: Annotated[
        PodDefaults | None, pydantic.Field(description="Merged into every child pod that runs on this pool.")
    ] = None
    mig: Annotated[
        mig_policy.MigPolicy | None,
        pydantic.Field(
            description="How GPUs of the pool are cut into MIG slices; unset: they stay as they are."
        ),
    ] = None


class PoolResource(meta.Schema):
    """Units of one extended resource over all Ready nodes of the pool."""

    name: Annotated[str, pydantic.Field(max_length=253, description="Extended resource name.")]
    allocatable: Annotated[meta.Count, pydantic.Field(description="Units that pods can get.")]


class GPUPoolStatus(meta.Schema):
    """Aggregates; what each node holds is in the read API."""

    observed_generation: meta.ObservedGeneration = None
    conditions: meta.Conditions = pydantic.Field(default_factory=list)
    nodes: Annotated[meta.Count, pydantic.Field(description="Nodes that the selector finds.")] = 0
    ready_nodes: Annotated[meta.Count, pydantic.Field(description="Those that are Ready.")] = 0
    resources: Annotated[
        list[PoolResource],
        pydantic.Field(
            max_length=64,
            description="Extended resources over all Ready nodes.",
            json_schema_extra=rules.list_map("name"),
        ),
    ] = pydantic.Field(default_factory=list)
    mig: Annotated[
        mig_policy.MigStatus | None,
        pydantic.Field(description="Slices and plans; unset where spec.mig is Off."),
    ] = None


class GPUPool(pydantic.BaseModel):
    """Nodes that belong together: their device class, and what every pod on them gets."""

    model_config = pydantic.ConfigDict(
        frozen=True,
        extra="ignore",
        json_schema_extra=rules.validated(rules.name_in_labels(KIND, LONGEST_POOL_NAME)),
    )

    metadata: meta.ObjectMeta
    spec: GPUPoolSpec
    status: GPUPoolStatus = GPUPoolStatus()
