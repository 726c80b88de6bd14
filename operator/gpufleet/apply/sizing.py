"""Writes `status.rightSizing`, and nothing else, under a field manager of its own."""

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
    about = service.metadata
    path = kube.path(meta.API_VERSION, triton_service.KIND, about.namespace, about.name, "status")
    told = triton_service.RightSizing(reason=advice.reason, message=advice.message, profile=advice.profile)
    body = {
        "apiVersion": meta.API_VERSION,
        "kind": triton_service.KIND,
        "metadata": {"name": about.name, "namespace": about.namespace, "uid": about.uid},
        "status": {"rightSizing": told.to_wire()},
    }
    return await client.apply(path, body, manager=names.SIZING_FIELD_MANAGER, force=True)
