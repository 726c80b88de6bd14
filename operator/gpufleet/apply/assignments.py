"""Writes `status.assignment` and `status.autoscaling`, and nothing else, as the cycle's field manager."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpufleet import kube
from gpufleet.api import meta
from gpufleet.state import assignment, names


async def apply(client: kube.Client, wanted: assignment.Assignment) -> Mapping[str, Any]:
    """The object as it is then. Raises kube.ApiError; Conflict where another object has the name now."""
    path = kube.path(meta.API_VERSION, wanted.kind, wanted.namespace, wanted.name, "status")
    body = {
        "apiVersion": meta.API_VERSION,
        "kind": wanted.kind,
        # The UID makes the API server refuse a namesake that was created since.
        "metadata": {"name": wanted.name, "namespace": wanted.namespace, "uid": wanted.uid}
        | ({"resourceVersion": wanted.resource_version} if wanted.resource_version else {}),
        "status": {"assignment": dict(wanted.value)}
        | ({"autoscaling": dict(wanted.autoscaling)} if wanted.autoscaling else {}),
    }
    return await client.apply(path, body, manager=names.CYCLE_FIELD_MANAGER, force=True)
