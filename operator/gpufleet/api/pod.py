"""The narrow part of a pod that tenants may say: nothing here widens its author's rights."""

from __future__ import annotations

from typing import Annotated

import pydantic

from gpufleet.api import meta


class EnvVar(meta.Schema):
    """A literal environment variable."""

    name: Annotated[str, pydantic.Field(min_length=1, max_length=256, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    value: Annotated[str, pydantic.Field(max_length=4096)] = ""


class ResourceAmounts(meta.Schema):
    """CPU and memory of one container; accelerators are asked for in `accelerator`."""

    cpu: meta.Quantity | None = None
    memory: meta.Quantity | None = None


class Resources(meta.Schema):
    """Requests and limits of one container."""

    requests: ResourceAmounts | None = None
    limits: ResourceAmounts | None = None


class ClaimReference(meta.Schema):
    """A PersistentVolumeClaim in the object's namespace."""

    claim_name: Annotated[
        str, pydantic.Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$")
    ]
    read_only: bool = False


class EmptyDir(meta.Schema):
    """Scratch space that lives as long as the pod."""

    size_limit: meta.Quantity | None = None
    medium: Annotated[str | None, pydantic.Field(pattern=r"^(Memory)?$", max_length=8)] = None


class Volume(meta.Schema):
    """A volume and where the container sees it: exactly one of persistentVolumeClaim, emptyDir."""

    name: meta.ObjectName
    mount_path: Annotated[str, pydantic.Field(min_length=1, max_length=1024, pattern=r"^/[^:]*$")]
    persistent_volume_claim: ClaimReference | None = None
    empty_dir: EmptyDir | None = None


class LocalObjectReference(meta.Schema):
    """The name of an object in the same namespace."""

    name: Annotated[
        str, pydantic.Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$")
    ]


class Toleration(meta.Schema):
    """A core/v1 Toleration; only platform teams may set one, in a GPUPool."""

    key: Annotated[str | None, pydantic.Field(max_length=316)] = None
    operator: Annotated[str | None, pydantic.Field(pattern=r"^(Exists|Equal)$", max_length=8)] = None
    value: Annotated[str | None, pydantic.Field(max_length=63)] = None
    effect: Annotated[
        str | None, pydantic.Field(pattern=r"^(NoSchedule|PreferNoSchedule|NoExecute)$", max_length=16)
    ] = None
