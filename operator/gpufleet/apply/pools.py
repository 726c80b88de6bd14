"""Writes a pool's `status.mig`, and nothing else, as the cycle's field manager."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpufleet import kube
from gpufleet.api import gpu_pool, meta
from gpufleet.state import names


async def apply(
    client: kube.Client, pool: gpu_pool.GPUPool, mig: Mapping[str, Any] | None
) -> Mapping[str, Any]:
    """The pool as it is then; None takes the field away. Raises kube.ApiError."""
    path = kube.path(meta.API_VERSION, gpu_pool.KIND, "", pool.metadata.name, "status")
    body = {
        "apiVersion": meta.API_VERSION,
        "kind": gpu_pool.KIND,
        "metadata": {"name": pool.metadata.name, "uid": pool.metadata.uid},
        "status": {"mig": dict(mig)} if mig is not None else {},
    }
    return await client.apply(path, body, manager=names.CYCLE_FIELD_MANAGER, force=True)
