"""Writes `status.rightSizing` and `status.sliceChoice`, each under a field manager of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpufleet import kube
from gpufleet.api import meta, triton_service
from gpufleet.decide.mig import rightsizing
from gpufleet.state import names


async def apply(
    client: kube.Client, service: triton_service.TritonService, advice: rightsizing.Advice
) -> Mapping[str, Any]:
    """The object as it is then. Raises kube.ApiError; Conflict where another object has the name now."""
    told = triton_service.RightSizing(reason=advice.reason, message=advice.message, profile=advice.profile)
    return await _apply(client, service, {"rightSizing": told.to_wire()}, names.SIZING_FIELD_MANAGER)


async def apply_choice(
    client: kube.Client, service: triton_service.TritonService, told: triton_service.SliceChoice
) -> Mapping[str, Any]:
    """The object as it is then. Raises kube.ApiError; Conflict where another object has the name now."""
    return await _apply(client, service, {"sliceChoice": told.to_wire()}, names.SLICES_FIELD_MANAGER)


async def _apply(
    client: kube.Client, service: triton_service.TritonService, status: Mapping[str, Any], manager: str
) -> Mapping[str, Any]:
    about = service.metadata
    path = kube.path(meta.API_VERSION, triton_service.KIND, about.namespace, about.name, "status")
    body = {
        "apiVersion": meta.API_VERSION,
        "kind": triton_service.KIND,
        "metadata": {"name": about.name, "namespace": about.namespace, "uid": about.uid},
        "status": dict(status),
    }
    return await client.apply(path, body, manager=manager, force=True)
