"""The NVIDIA device plugin's part: one gRPC server per resource, registered with the kubelet."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pathlib
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any

import grpc

from gpufleet.kubelet import deviceplugin_pb2 as pb
from gpufleet.kubelet import rpc
from gpufleet.simgpu import inventory

log = logging.getLogger(__name__)

HEALTHY = "Healthy"
UNHEALTHY = "Unhealthy"
VISIBLE_DEVICES = "NVIDIA_VISIBLE_DEVICES"


class Plugin:
    """Serves one resource of the inventory; `on_allocate` hears the UUIDs that a container gets."""

    def __init__(
        self, resource: str, stock: inventory.Inventory, on_allocate: Callable[[Collection[str]], None]
    ) -> None:
        self.resource = resource
        self.endpoint = f"gpufleet-{resource.removeprefix('nvidia.com/')}.sock"
        self._stock = stock
        self._on_allocate = on_allocate
        self._server: Any = None

    async def start(self, folder: pathlib.Path) -> None:
        """Serve on a socket beside the kubelet's, and register there. Raises grpc.RpcError."""
        await self.stop()
        methods = {
            "GetDevicePluginOptions": rpc.unary(self._options, pb.Empty),
            "ListAndWatch": rpc.streaming(self._list_and_watch, pb.Empty),
            "Allocate": rpc.unary(self._allocate, pb.AllocateRequest),
        }
        self._server = await rpc.serve(folder / self.endpoint, rpc.DEVICE_PLUGIN, methods)
        await rpc.register(folder / "kubelet.sock", self.endpoint, self.resource)
        log.info("registered %s", self.resource)

    async def stop(self) -> None:
        """Close the socket; open streams end."""
        if self._server is not None:
            await self._server.stop(grace=None)
            self._server = None

    def build_devices(self) -> list[pb.Device]:
        """The resource's devices as the kubelet is told."""
        return [
            pb.Device(ID=device.uuid, health=HEALTHY if device.healthy else UNHEALTHY)
            for device in self._stock.advertise().get(self.resource, [])
        ]

    async def _options(self, request: pb.Empty, context: Any) -> pb.DevicePluginOptions:
        return pb.DevicePluginOptions()

    async def _list_and_watch(
        self, request: pb.Empty, context: Any
    ) -> AsyncIterator[pb.ListAndWatchResponse]:
        told: list[pb.Device] | None = None
        while True:
            seen = self._stock.generation
            if (current := self.build_devices()) != told:
                told = current
                yield pb.ListAndWatchResponse(devices=current)
            await self._stock.wait(seen)

    async def _allocate(self, request: pb.AllocateRequest, context: Any) -> pb.AllocateResponse:
        known = {device.ID for device in self.build_devices()}
        asked = [list(container.devices_ids) for container in request.container_requests]
        if missing := sorted({uuid for ids in asked for uuid in ids} - known):
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"no device {', '.join(missing)}: MIG layout changed"
            )
        self._on_allocate([uuid for ids in asked for uuid in ids])
        return pb.AllocateResponse(
            container_responses=[
                pb.ContainerAllocateResponse(envs={VISIBLE_DEVICES: ",".join(ids)}) for ids in asked
            ]
        )


class PluginSet:
    """All plugins of the node; a resource gets one when it first appears, and keeps it."""

    def __init__(
        self,
        folder: pathlib.Path,
        stock: inventory.Inventory,
        on_allocate: Callable[[Collection[str]], None],
        poll_s: float,
    ) -> None:
        self._folder = folder
        self._stock = stock
        self._on_allocate = on_allocate
        self._poll_s = poll_s
        self._plugins: dict[str, Plugin] = {}
        self._kubelet: tuple[int, int] | None = None
        self.is_registered = False

    async def run(self) -> None:
        """Keep every resource registered, also over restarts of the kubelet, until cancelled."""
        try:
            while True:
                seen = self._stock.generation
                await self._register_lacking()
                await self._pause(seen)
        finally:
            for plugin in self._plugins.values():
                await plugin.stop()

    async def _register_lacking(self) -> None:
        kubelet = self._read_kubelet()
        if kubelet is None:
            self.is_registered = False
            return
        # A kubelet that restarts removes every socket in the folder, and its own is a new file.
        if kubelet != self._kubelet:
            for plugin in self._plugins.values():
                await plugin.stop()
            self._plugins.clear()
        try:
            for resource in self._stock.advertise():
                await self._ensure(resource)
        except grpc.RpcError as error:
            log.warning("the kubelet did not take a registration: %s", rpc.describe(error))
            self.is_registered = False
            return
        self._kubelet, self.is_registered = kubelet, True

    async def _ensure(self, resource: str) -> None:
        if resource in self._plugins:
            return
        # Known before it starts, so that a cancellation half-way still finds its server to stop.
        plugin = self._plugins[resource] = Plugin(resource, self._stock, self._on_allocate)
        try:
            await plugin.start(self._folder)
        except grpc.RpcError:
            del self._plugins[resource]
            await plugin.stop()
            raise

    async def _pause(self, seen: int) -> None:
        # Not asyncio.wait_for: before Python 3.12 it may swallow a cancellation.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._poll_s):
                await self._stock.wait(seen)

    def _read_kubelet(self) -> tuple[int, int] | None:
        try:
            status = (self._folder / "kubelet.sock").stat()
        except OSError:
            return None
        return status.st_ino, status.st_ctime_ns
