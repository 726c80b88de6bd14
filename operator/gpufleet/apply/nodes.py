"""Writes labels of ours on Nodes, and nothing else there."""

from __future__ import annotations

from collections.abc import Mapping

from gpufleet import kube
from gpufleet.state import names


async def label(client: kube.Client, node: str, labels: Mapping[str, str | None]) -> None:
    """Sets labels, and removes those that are None. Raises kube.ApiError."""
    path = kube.path("v1", "Node", name=node)
    await client.merge_patch(path, {"metadata": {"labels": dict(labels)}}, manager=names.CYCLE_FIELD_MANAGER)
