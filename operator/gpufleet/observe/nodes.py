"""A node and its pods as the API server has them now, past every store: for what cannot be undone."""

from __future__ import annotations

from typing import Any

from gpufleet import kube
from gpufleet.observe import decode, decode_nodes
from gpufleet.state import fleet

_PAGE = 500


async def read(client: kube.Client, name: str) -> tuple[dict[str, Any], fleet.Node, tuple[fleet.Pod, ...]]:
    """The Node as JSON and as a value, and the pods bound to it that hold extended resources.

    Raises kube.ApiError, NotFound where there is no such node or nothing that can be read.
    """
    raw = await client.get(kube.path("v1", "Node", name=name))
    node = decode_nodes.decode_node(raw)
    if node is None:
        raise kube.NotFound(404, f"node {name} cannot be read")
    pods: list[fleet.Pod] = []
    token = ""
    while True:
        following: dict[str, Any] = {"continue_": token} if token else {}
        page = await client.list(
            kube.path("v1", "Pod"), fieldSelector=f"spec.nodeName={name}", limit=_PAGE, **following
        )
        pods += [pod for item in page["items"] or () if (pod := decode.decode_pod(item))]
        if not (token := page["metadata"].get("continue", "")):
            return raw, node, tuple(pods)
