"""GPUPool: which nodes belong together and what every pod on them gets."""

from __future__ import annotations

from typing import Annotated

import pydantic

from gpufleet.api import meta, pod

KIND = "GPUPool"
PLURAL = "gpupools"

LabelValue = Annotated[str, pydantic.Field(max_length=63)]


class PodDefaults(meta.Schema):
    """Merged into every child pod that runs on this pool."""

    tolerations: Annotated[list[pod.Toleration], pydantic.Field(max_length=32)] = pydantic.Field(
        default_factory=list
    )
    runtime_class_name: Annotated[str | None, pydantic.Field(max_length=253)] = None
    env: Annotated[list[pod.EnvVar], pydantic.Field(max_length=64)] = pydantic.Field(default_factory=list)


class GPUPoolSpec(meta.Schema):
    """What the platform team says about these nodes."""

    node_selector: Annotated[
        dict[str, LabelValue],
        pydantic.Field(
            min_length=1, max_length=16, description="Labels that every node of the pool carries."
        ),
    ]
    device_class: Annotated[
        str | None,
        pydantic.Field(
            max_length=63,
            pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
            description="Device class of the nodes; unset: read from the product label.",
        ),
    ] = None
    pod_defaults: PodDefaults | None = None


class PoolResource(meta.Schema):
    """Units of one extended resource over all Ready nodes of the pool."""

    name: str
    allocatable: int


class GPUPoolStatus(meta.Schema):
    """Aggregates; what each node holds is in the read API."""

    observed_generation: int | None = None
    conditions: list[meta.Condition] = pydantic.Field(default_factory=list)
    nodes: int = 0
    ready_nodes: int = 0
    resources: list[PoolResource] = pydantic.Field(default_factory=list)


class GPUPool(pydantic.BaseModel):
    """One GPUPool as the API server holds it."""

    model_config = pydantic.ConfigDict(frozen=True, extra="ignore")

    metadata: meta.ObjectMeta
    spec: GPUPoolSpec
    status: GPUPoolStatus = GPUPoolStatus()
