"""The kubelet's answers for the tests of the node agent."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

from gpufleet.kubelet import podresources_pb2 as pb
from gpufleet.kubelet import rpc

AGENT = "gpufleet-system/agent"


def device(resource: str, *ids: str) -> pb.ContainerDevices:
    return pb.ContainerDevices(resource_name=resource, device_ids=ids)


def pod(name: str, *devices: pb.ContainerDevices, claims: Iterable[str] = ()) -> pb.PodResources:
    """A pod, named namespace/name, with one container; `claims` are driver/device."""
    parts = [one.split("/", 1) for one in claims]
    claimed = [pb.ClaimResource(driver_name=driver, device_name=one) for driver, one in parts]
    dynamic = [pb.DynamicResource(claim_resources=claimed)] if claimed else []
    container = pb.ContainerResources(name="main", devices=devices, dynamic_resources=dynamic)
    namespace, own = name.split("/")
    return pb.PodResources(namespace=namespace, name=own, containers=[container])


def listing(*pods: pb.PodResources) -> pb.ListPodResourcesResponse:
    return pb.ListPodResourcesResponse(pod_resources=pods)


class Kubelet:
    """Speaks PodResources over a unix socket as the kubelet does; `pods` and `offered` may be changed."""

    def __init__(self, socket: pathlib.Path) -> None:
        self.socket = socket
        self.pods = [pod(AGENT)]
        self.offered: list[pb.ContainerDevices] = []
        self._server: Any = None

    async def start(self) -> None:
        methods = {
            "List": rpc.unary(self._list, pb.ListPodResourcesRequest),
            "GetAllocatableResources": rpc.unary(self._allocatable, pb.AllocatableResourcesRequest),
        }
        self._server = await rpc.serve(self.socket, rpc.POD_RESOURCES, methods)

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server:
            await server.stop(grace=None)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Kubelet]:
        await self.start()
        try:
            yield self
        finally:
            await self.stop()

    async def _list(self, request: Any, context: Any) -> pb.ListPodResourcesResponse:
        return listing(*self.pods)

    async def _allocatable(self, request: Any, context: Any) -> pb.AllocatableResourcesResponse:
        return pb.AllocatableResourcesResponse(devices=self.offered)
