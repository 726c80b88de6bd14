"""The device plugin against a kubelet's side of the protocol, over unix sockets in a temporary folder."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import pathlib
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import grpc
import pytest

from gpufleet.kubelet import deviceplugin_pb2 as plugin_pb
from gpufleet.kubelet import podresources_pb2 as resources_pb
from gpufleet.kubelet import rpc
from gpufleet.simgpu import inventory, plugin, podresources
from tests.unit.gpufleet.simgpu import builders

DEADLINE_S = 20.0

# grpc.aio shares one poller in the process and loses events that belong to a closed loop.
pytestmark = pytest.mark.asyncio(loop_scope="module")


class FakeKubelet:
    """Takes registrations, and speaks to plugins and PodResources clients as the kubelet does."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.registered: list[tuple[str, str]] = []
        self.held: list[tuple[str, str, str, str, list[str]]] = []
        self._servers: list[Any] = []

    async def start(self) -> None:
        for old in self.folder.glob("*.sock"):
            old.unlink()
        register = {"Register": rpc.unary(self._register, plugin_pb.RegisterRequest)}
        listing = {"List": rpc.unary(self._list, resources_pb.ListPodResourcesRequest)}
        self._servers = [
            await rpc.serve(self.folder / "kubelet.sock", rpc.REGISTRATION, register),
            await rpc.serve(self.folder / "pods.sock", rpc.POD_RESOURCES, listing),
        ]

    async def stop(self) -> None:
        while self._servers:
            await self._servers.pop().stop(grace=None)

    async def _register(self, request: plugin_pb.RegisterRequest, context: Any) -> plugin_pb.Empty:
        assert request.version == "v1beta1"
        self.registered.append((request.resource_name, request.endpoint))
        return plugin_pb.Empty()

    async def _list(self, request: Any, context: Any) -> resources_pb.ListPodResourcesResponse:
        pods = [
            resources_pb.PodResources(
                namespace=namespace,
                name=pod,
                containers=[
                    resources_pb.ContainerResources(
                        name=container,
                        devices=[resources_pb.ContainerDevices(resource_name=resource, device_ids=ids)],
                    )
                ],
            )
            for namespace, pod, container, resource, ids in self.held
        ]
        return resources_pb.ListPodResourcesResponse(pod_resources=pods)

    @contextlib.asynccontextmanager
    async def devices_of(self, resource: str) -> AsyncIterator[asyncio.Queue[dict[str, str]]]:
        """What ListAndWatch says about the resource, message by message."""
        told: asyncio.Queue[dict[str, str]] = asyncio.Queue()

        async def listen() -> None:
            async with rpc.dial(self.folder / dict(self.registered)[resource]) as channel:
                call = channel.unary_stream(
                    f"/{rpc.DEVICE_PLUGIN}/ListAndWatch",
                    request_serializer=plugin_pb.Empty.SerializeToString,
                    response_deserializer=plugin_pb.ListAndWatchResponse.FromString,
                )
                async for message in call(plugin_pb.Empty()):
                    told.put_nowait({device.ID: device.health for device in message.devices})

        task = asyncio.create_task(listen())
        try:
            yield told
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def allocate(self, resource: str, ids: list[str]) -> dict[str, str]:
        async with rpc.dial(self.folder / dict(self.registered)[resource]) as channel:
            call = channel.unary_unary(
                f"/{rpc.DEVICE_PLUGIN}/Allocate",
                request_serializer=plugin_pb.AllocateRequest.SerializeToString,
                response_deserializer=plugin_pb.AllocateResponse.FromString,
            )
            request = plugin_pb.ContainerAllocateRequest(devices_ids=ids)
            response = await call(plugin_pb.AllocateRequest(container_requests=[request]), timeout=DEADLINE_S)
            return dict(response.container_responses[0].envs)


async def within(awaitable: Awaitable[dict[str, str]]) -> dict[str, str]:
    async with asyncio.timeout(DEADLINE_S):
        return await awaitable


async def eventually(condition: Any) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(
    folder: pathlib.Path, stock: inventory.Inventory
) -> AsyncIterator[tuple[FakeKubelet, plugin.PluginSet, podresources.Holdings]]:
    kubelet = FakeKubelet(folder)
    await kubelet.start()
    holdings = podresources.Holdings(folder / "pods.sock", stock, builders.FakeClock())
    plugins = plugin.PluginSet(folder, stock, holdings.note_allocated, poll_s=0.05)
    task = asyncio.create_task(plugins.run())
    try:
        yield kubelet, plugins, holdings
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await kubelet.stop()
        # A server of grpc.aio touches its loop when it is collected: let that be now.
        gc.collect()
        await asyncio.sleep(0)


async def test_every_resource_is_registered_with_its_devices(tmp_path: pathlib.Path) -> None:
    stock = builders.stock_of(("3g.40gb", "1g.10gb+me"), None)
    async with running(tmp_path, stock) as (kubelet, plugins, _):
        await eventually(lambda: plugins.is_registered)
        assert {resource for resource, _ in kubelet.registered} == {
            "nvidia.com/gpu",
            "nvidia.com/mig-3g.40gb",
            "nvidia.com/mig-1g.10gb.me",
        }
        async with kubelet.devices_of("nvidia.com/gpu") as told:
            assert await within(told.get()) == {stock.gpus[1].uuid: "Healthy"}


async def test_a_changed_layout_reaches_the_kubelet(tmp_path: pathlib.Path) -> None:
    stock = builders.stock_of(("3g.40gb", "3g.40gb"))
    async with running(tmp_path, stock) as (kubelet, plugins, _):
        await eventually(lambda: plugins.is_registered)
        async with kubelet.devices_of("nvidia.com/mig-3g.40gb") as told:
            assert len(await within(told.get())) == 2
            stock.gpus[0].clear()
            stock.gpus[0].create_instance("7g.80gb")
            await stock.changed()
            assert await within(told.get()) == {}
        await eventually(lambda: "nvidia.com/mig-7g.80gb" in dict(kubelet.registered))


async def test_a_fault_makes_devices_unhealthy_and_its_end_heals_them(tmp_path: pathlib.Path) -> None:
    stock = builders.stock_of(None)
    async with running(tmp_path, stock) as (kubelet, plugins, _):
        await eventually(lambda: plugins.is_registered)
        async with kubelet.devices_of("nvidia.com/gpu") as told:
            assert set((await within(told.get())).values()) == {"Healthy"}
            for unhealthy, health in (({0}, "Unhealthy"), (set(), "Healthy")):
                stock.unhealthy = frozenset(unhealthy)
                await stock.changed()
                assert set((await within(told.get())).values()) == {health}


async def test_a_restarted_kubelet_gets_everything_again(tmp_path: pathlib.Path) -> None:
    stock = builders.stock_of(("3g.40gb",), None)
    async with running(tmp_path, stock) as (kubelet, plugins, _):
        await eventually(lambda: len(kubelet.registered) == 2 and plugins.is_registered)
        await kubelet.stop()
        kubelet.registered.clear()
        await kubelet.start()
        await eventually(lambda: len(kubelet.registered) == 2)
        assert await kubelet.allocate("nvidia.com/gpu", [stock.gpus[1].uuid])


async def test_a_kubelet_that_is_away_is_waited_for(tmp_path: pathlib.Path) -> None:
    stock = builders.stock_of(None)
    plugins = plugin.PluginSet(tmp_path, stock, lambda uuids: None, poll_s=0.01)
    task = asyncio.create_task(plugins.run())
    await asyncio.sleep(0)
    assert not plugins.is_registered
    kubelet = FakeKubelet(tmp_path)
    await kubelet.start()
    await eventually(lambda: plugins.is_registered)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await kubelet.stop()


async def test_an_allocation_names_the_devices_and_makes_them_busy(tmp_path: pathlib.Path) -> None:
    stock = builders.stock_of(("3g.40gb", "3g.40gb"))
    first, second = builders.uuids(stock)
    async with running(tmp_path, stock) as (kubelet, plugins, _):
        await eventually(lambda: plugins.is_registered)
        envs = await kubelet.allocate("nvidia.com/mig-3g.40gb", [first])
        assert envs == {"NVIDIA_VISIBLE_DEVICES": first}
        assert stock.gpus[0].busy == {first}
        assert second not in stock.gpus[0].busy


async def test_an_allocation_of_a_vanished_device_is_refused(tmp_path: pathlib.Path) -> None:
    stock = builders.stock_of(("3g.40gb",))
    (gone,) = builders.uuids(stock)
    async with running(tmp_path, stock) as (kubelet, plugins, _):
        await eventually(lambda: plugins.is_registered)
        stock.gpus[0].clear()
        with pytest.raises(grpc.RpcError, match="MIG layout changed"):
            await kubelet.allocate("nvidia.com/mig-3g.40gb", [gone])


async def test_held_devices_are_those_the_kubelet_lists(tmp_path: pathlib.Path) -> None:
    stock = builders.stock_of(("3g.40gb", "3g.40gb"))
    first, second = builders.uuids(stock)
    async with running(tmp_path, stock) as (kubelet, _, holdings):
        kubelet.held = [
            ("team-a", "vision-0", "triton", "nvidia.com/mig-3g.40gb", [first]),
            ("team-a", "other", "main", "example.com/fpga", ["fpga-0"]),
        ]
        await holdings.refresh()
        assert holdings.holders == (podresources.Holder("team-a", "vision-0", "triton", (first,)),)
        assert stock.gpus[0].busy == {first}
        kubelet.held = []
        await holdings.refresh()
        assert stock.gpus[0].busy == frozenset()
        assert second in builders.uuids(stock)


async def test_what_the_kubelet_has_listed_is_free_once_it_does_not_list_it(tmp_path: pathlib.Path) -> None:
    stock = builders.stock_of(("3g.40gb", "3g.40gb"))
    first, _ = builders.uuids(stock)
    async with running(tmp_path, stock) as (kubelet, _, holdings):
        holdings.note_allocated([first])
        await holdings.refresh()
        assert stock.gpus[0].busy == {first}, "it is not listed yet"
        kubelet.held = [("team-a", "vision-0", "triton", "nvidia.com/mig-3g.40gb", [first])]
        await holdings.refresh()
        kubelet.held = []
        await holdings.refresh()
        assert stock.gpus[0].busy == frozenset()


async def test_a_silent_kubelet_leaves_what_was_held(tmp_path: pathlib.Path) -> None:
    stock = builders.stock_of(None)
    async with running(tmp_path, stock) as (kubelet, _, holdings):
        kubelet.held = [("team-a", "train-0", "main", "nvidia.com/gpu", [stock.gpus[0].uuid])]
        await holdings.refresh()
        await kubelet.stop()
        await holdings.refresh()
        assert stock.gpus[0].is_busy


async def test_a_fresh_allocation_counts_until_the_kubelet_should_list_it(tmp_path: pathlib.Path) -> None:
    stock = builders.stock_of(None, None)
    clock = builders.FakeClock()
    holdings = podresources.Holdings(tmp_path / "none.sock", stock, clock)
    holdings.note_allocated([stock.gpus[0].uuid])
    assert stock.gpus[0].is_busy
    clock.at_s = podresources.GRACE_S + 1
    holdings.note_allocated([stock.gpus[1].uuid])
    assert [gpu.is_busy for gpu in stock.gpus] == [False, True]
