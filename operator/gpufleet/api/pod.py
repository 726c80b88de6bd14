"""The narrow part of a pod that tenants may say: nothing here widens its author's rights."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

from gpufleet.api import meta, rules

DEVICE_ENV = "NVIDIA_VISIBLE_DEVICES"
"""Set by the device plugin; a pod that sets it itself could see devices that others hold."""


class EnvVar(meta.Schema):
    """A literal environment variable."""

    name: Annotated[
        str,
        pydantic.Field(
            min_length=1,
            max_length=256,
            pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
            description="Name of the variable.",
        ),
    ]
    value: Annotated[str, pydantic.Field(max_length=4096, description="Its value, taken literally.")] = ""


def env_vars(most: int) -> Any:
    """A field of at most so many variables, each name once and none that the device plugin sets."""
    reserved = rules.Rule(
        rule=f"self.all(e, e.name != '{DEVICE_ENV}')",
        message=f"env may not set {DEVICE_ENV}, which the device plugin sets: remove it, "
        "and say what the pod needs in accelerator",
        reason="FieldValueForbidden",
    )
    return pydantic.Field(
        max_length=most,
        description="Environment variables.",
        json_schema_extra=rules.list_map("name") | rules.validated(reserved),
    )


class ResourceAmounts(meta.Schema):
    """CPU and memory of one container; accelerators are asked for in `accelerator`."""

    cpu: Annotated[meta.Quantity | None, pydantic.Field(description="Cores, such as 500m or 2.")] = None
    memory: Annotated[meta.MemoryQuantity | None, pydantic.Field(description="Memory, such as 2Gi.")] = None


def _request_within_limit(resource: str) -> rules.Rule:
    both = " && ".join(f"has(self.{side}) && has(self.{side}.{resource})" for side in ("requests", "limits"))
    fits = f"!quantity(self.requests.{resource}).isGreaterThan(quantity(self.limits.{resource}))"
    return rules.Rule(
        rule=f"!({both}) || {fits}",
        message=f"requests.{resource} exceeds limits.{resource}: lower the request or raise the limit",
        says=f"'requests.{resource} ' + self.requests.{resource} + ' exceeds limits.{resource} ' "
        f"+ self.limits.{resource} + ': lower the request or raise the limit'",
    )


class Resources(meta.Schema):
    """Requests and limits of one container."""

    model_config = pydantic.ConfigDict(
        json_schema_extra=rules.validated(_request_within_limit("cpu"), _request_within_limit("memory"))
    )

    requests: Annotated[
        ResourceAmounts | None, pydantic.Field(description="What the scheduler sets aside for it.")
    ] = None
    limits: Annotated[ResourceAmounts | None, pydantic.Field(description="What it may use at most.")] = None


class ClaimReference(meta.Schema):
    """A PersistentVolumeClaim in the object's namespace."""

    claim_name: meta.ReferenceName
    read_only: Annotated[bool, pydantic.Field(description="Mount it read-only.")] = False


class EmptyDir(meta.Schema):
    """Scratch space that lives as long as the pod."""

    size_limit: Annotated[
        meta.MemoryQuantity | None,
        pydantic.Field(description="Most that it may hold; unset: the node's limit."),
    ] = None
    medium: Annotated[
        Literal["", "Memory"] | None, pydantic.Field(description="Memory keeps it in RAM; unset: on disk.")
    ] = None


class Volume(meta.Schema):
    """A volume and where the container sees it: exactly one of persistentVolumeClaim, emptyDir."""

    model_config = pydantic.ConfigDict(
        json_schema_extra=rules.validated(rules.exactly_one("volume", "persistentVolumeClaim", "emptyDir"))
    )

    name: Annotated[meta.ObjectName, pydantic.Field(description="Name of the volume in its pod.")]
    mount_path: Annotated[
        str,
        pydantic.Field(
            min_length=1,
            max_length=1024,
            pattern=r"^/[^:]*$",
            description="Absolute path in the container.",
        ),
    ]
    persistent_volume_claim: Annotated[
        ClaimReference | None, pydantic.Field(description="A PersistentVolumeClaim in this namespace.")
    ] = None
    empty_dir: Annotated[
        EmptyDir | None, pydantic.Field(description="Scratch space that lives as long as the pod.")
    ] = None


Volumes = Annotated[
    list[Volume],
    pydantic.Field(
        max_length=16,
        description="Volumes and where the container sees them.",
        json_schema_extra=rules.list_map("name")
        | rules.validated(
            rules.Rule(
                rule="self.all(v, self.exists_one(w, w.mountPath == v.mountPath))",
                message="two volumes have the same mountPath: give each a path of its own",
            )
        ),
    ),
]


class LocalObjectReference(meta.Schema):
    """The name of an object in the same namespace."""

    name: meta.ReferenceName


PullSecrets = Annotated[
    list[LocalObjectReference],
    pydantic.Field(
        max_length=8,
        description="Secrets of this namespace that the kubelet pulls images with.",
        json_schema_extra=rules.list_map("name"),
    ),
]

PriorityClassName = Annotated[
    str,
    pydantic.Field(
        min_length=1,
        max_length=253,
        pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$",
    ),
]


class Toleration(meta.Schema):
    """A taint that pods accept; only platform teams may say one, in a GPUPool."""

    key: Annotated[str | None, pydantic.Field(max_length=316, description="Taint key; unset: every key.")] = (
        None
    )
    operator: Annotated[
        Literal["Exists", "Equal"] | None,
        pydantic.Field(description="Whether value must be equal; unset: Equal."),
    ] = None
    value: Annotated[str | None, pydantic.Field(max_length=63, description="Taint value to equal.")] = None
    effect: Annotated[
        Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None,
        pydantic.Field(description="Taint effect; unset: every effect."),
    ] = None
