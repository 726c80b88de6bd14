"""Metadata that every child carries: names, labels, and the rules that pods keep."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from gpufleet.api import accelerator as accelerators
from gpufleet.api import gpu_pool, pod
from gpufleet.api import meta as api_meta
from gpufleet.decide.mig import slicechoice
from gpufleet.decide.resources import quantity
from gpufleet.state import names

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
SLICE_WEIGHT = 10
"""Of the wish for a node where large slices survive: less than that to stay off a node that failed, 100."""


def build_meta(name: str, namespace: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """ObjectMeta of a child; apply adds the owner."""
    return {"name": name, "namespace": namespace, "labels": {names.MANAGED_BY: names.MANAGER, **labels}}


def annotated(metadata: Mapping[str, Any], annotations: Mapping[str, str]) -> dict[str, Any]:
    """ObjectMeta with annotations, if there are any."""
    return {**metadata, "annotations": dict(annotations)} if annotations else dict(metadata)


def build_owner_reference(kind: str, name: str, uid: str) -> dict[str, Any]:
    """By UID: deleting this very object deletes what it owns."""
    return {
        "apiVersion": api_meta.API_VERSION,
        "kind": kind,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def short_hash(content: Any) -> str:
    """Ten hex digits that stand for this content."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:10]


def without_empty(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Without what the API server would not store either: None, empty lists, maps and strings."""
    return {key: value for key, value in mapping.items() if value not in (None, [], {}, "", ())}


def build_env(*sources: Sequence[pod.EnvVar]) -> list[dict[str, Any]]:
    """Environment variables; of those with the same name the last source wins."""
    merged = {variable.name: variable.value for source in sources for variable in source}
    return [without_empty({"name": name, "value": value}) for name, value in merged.items()]


def build_resources(
    wanted: pod.Resources | None, assigned: accelerators.AssignedAccelerator | None
) -> dict[str, Any]:
    """Requests and limits; the accelerator goes into both, as the API server would have it."""
    requests = _build_amounts(wanted.requests if wanted else None)
    limits = _build_amounts(wanted.limits if wanted else None)
    if assigned is not None:
        limits[assigned.resource] = requests[assigned.resource] = str(assigned.count)
    return without_empty({"requests": requests, "limits": limits})


def _build_amounts(wanted: pod.ResourceAmounts | None) -> dict[str, str]:
    amounts = wanted.to_wire() if wanted else {}
    return {name: quantity.canonical(amount) for name, amount in amounts.items()}


def build_affinity(assigned: accelerators.AssignedAccelerator | None) -> dict[str, Any] | None:
    """Only nodes whose product fits; for a slice rather those where large ones survive. None where any does.

    It follows from what is assigned alone: which nodes are preferred, their labels say.
    """
    if assigned is None:
        return None
    found: dict[str, Any] = {}
    if assigned.products:
        fits = {"key": names.GPU_PRODUCT_LABEL, "operator": "In", "values": sorted(assigned.products)}
        found[REQUIRED] = {"nodeSelectorTerms": [{"matchExpressions": [fits]}]}
    if key := slicechoice.label_of(assigned.resource):
        wish = {"matchExpressions": [{"key": key, "operator": "Exists"}]}
        found[PREFERRED] = [{"weight": SLICE_WEIGHT, "preference": wish}]
    return {"nodeAffinity": found} if found else None


def build_pool_fields(pool: gpu_pool.GPUPool | None) -> dict[str, Any]:
    """What a pool gives every pod that runs on it."""
    if pool is None:
        return {}
    defaults = pool.spec.pod_defaults or gpu_pool.PodDefaults()
    return without_empty(
        {
            "nodeSelector": dict(pool.spec.node_selector),
            "tolerations": [toleration.to_wire() for toleration in defaults.tolerations],
            "runtimeClassName": defaults.runtime_class_name,
        }
    )


def pool_env(pool: gpu_pool.GPUPool | None) -> Sequence[pod.EnvVar]:
    """Environment that a pool gives every container."""
    return pool.spec.pod_defaults.env if pool and pool.spec.pod_defaults else ()


def build_pod_security(user: int | None = None) -> dict[str, Any]:
    """securityContext of a pod that Pod Security's `restricted` admits."""
    context: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    return context if user is None else {**context, "runAsUser": user, "runAsGroup": user, "fsGroup": user}


def build_container_security(*, read_only_root: bool) -> dict[str, Any]:
    """securityContext of a container that Pod Security's `restricted` admits."""
    context: dict[str, Any] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {**context, "readOnlyRootFilesystem": True} if read_only_root else context
