"""The agent's loop against the kubelet's protocol on a unix socket and an API server that a test plays."""

from __future__ import annotations

import contextlib
import gc
import json
import pathlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from kubernetes import aio

from gpufleet import kube
from gpufleet import settings as client_settings
from gpufleet.agents.node import agent, hardware, settings
from gpufleet.state import names
from tests.unit.gpufleet.agents.node import builders

# grpc.aio shares one poller in the process and loses events that belong to a closed loop.
pytestmark = pytest.mark.asyncio(loop_scope="module")

GPU = "nvidia.com/gpu"
GPUS = (hardware.Gpu(0, "GPU-a", "NVIDIA-L4", False),)


class World:
    """A Node on a server, a kubelet, GPUs, and the agent between them; all may be changed."""

    def __init__(self, kubelet: builders.Kubelet) -> None:
        self.kubelet = kubelet
        self.labels: dict[str, str] = {}
        self.annotations: dict[str, str] = {}
        self.patches: list[dict[str, Any]] = []
        self.status = 200
        self.gpus: hardware.Gpus | hardware.HardwareError = GPUS
        self.readings = 0
        self.agent: agent.Agent

    async def answer(self, request: web.Request) -> web.Response:
        assert request.path == "/api/v1/nodes/node-a"
        if self.status != 200:
            return web.json_response({"message": "in trouble"}, status=self.status)
        if request.method == "PATCH":
            patch = await request.json()
            self.patches.append(patch)
            self.annotations |= patch["metadata"]["annotations"]
        else:
            assert "PartialObjectMetadata" in request.headers["Accept"]
            assert request.query["resourceVersion"] == "0"
        return web.json_response({"metadata": {"labels": self.labels, "annotations": self.annotations}})

    async def read_gpus(self, offered: hardware.Offered) -> hardware.Gpus:
        self.readings += 1
        if isinstance(self.gpus, hardware.HardwareError):
            raise self.gpus
        return self.gpus

    async def look(self) -> str | None:
        await self.agent.look()
        return self.agent.problem

    def hold(self, name: str | None) -> None:
        """The GPU's holder from now on."""
        own = builders.pod(builders.AGENT)
        held = [builders.pod(name, builders.device(GPU, "GPU-a"))] if name else []
        self.kubelet.pods = [own, *held]

    @property
    def document(self) -> Any:
        return json.loads(self.annotations[names.DEVICES_ANNOTATION])

    @property
    def holder(self) -> str:
        return str(self.document["gpus"][0]["pod"])


@pytest_asyncio.fixture(loop_scope="module")
async def world(tmp_path: pathlib.Path) -> AsyncIterator[World]:
    async with builders.Kubelet(tmp_path / "kubelet.sock").running() as kubelet:
        made = World(kubelet)
        async with served(made) as client:
            namespace, pod_name = builders.AGENT.split("/")
            config = settings.Settings(
                node_name="node-a", namespace=namespace, pod_name=pod_name,
                pod_resources_socket=kubelet.socket,
            )  # fmt: skip
            made.agent = agent.Agent(client, config, "boot-1", made.read_gpus)
            yield made
    # A server of grpc.aio touches its loop when it is collected: let that be now.
    gc.collect()


@contextlib.asynccontextmanager
async def served(world: World) -> AsyncIterator[kube.Client]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", world.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    configuration = aio.client.Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
    client = kube.Client(aio.client.ApiClient(configuration), client_settings.Settings())
    try:
        yield client
    finally:
        await client.close()
        await runner.cleanup()


async def test_it_writes_when_something_changed_and_only_then(world: World) -> None:
    for name, expected in (("team/a", "team/a/"), ("team/a", "team/a/"), (None, ""), (None, "")):
        world.hold(name)
        assert await world.look() is None
        assert world.holder == expected
    assert len(world.patches) == 2
    assert world.readings == 2
    assert (world.agent.writes, world.agent.looks) == (2, {"done": 4, "failed": 0})


async def test_it_writes_nothing_of_a_node_without_gpus(world: World) -> None:
    world.gpus = ()
    assert await world.look() is None
    assert world.patches == []


async def test_it_restores_what_somebody_removed(world: World) -> None:
    await world.look()
    del world.annotations[names.DEVICES_ANNOTATION]
    await world.look()
    assert world.holder == ""


async def test_a_request_is_answered_with_its_token_and_a_fresh_look(world: World) -> None:
    await world.look()
    world.annotations[names.DEVICES_REQUESTED_ANNOTATION] = "t1"
    world.gpus = (*GPUS, hardware.Gpu(1, "GPU-b", "NVIDIA-L4", False))
    await world.look()
    assert (world.document["token"], len(world.document["gpus"])) == ("t1", 2)
    await world.look()
    assert world.readings == 2


@pytest.mark.parametrize("state", ["pending", "rebooting"])
async def test_gpus_that_are_being_cut_are_read_only_when_asked(world: World, state: str) -> None:
    world.labels[names.MIG_STATE_LABEL] = state
    world.annotations[names.DEVICES_ANNOTATION] = "{}"
    assert await world.look() is None
    assert (world.readings, world.patches) == (0, [])
    world.annotations[names.DEVICES_REQUESTED_ANNOTATION] = "t1"
    await world.look()
    assert world.document["token"] == "t1"
    world.kubelet.offered = [builders.device(GPU, "GPU-a")]
    await world.look()
    assert world.readings == 1
    world.labels[names.MIG_STATE_LABEL] = "success"
    await world.look()
    assert world.readings == 2


async def test_an_api_server_that_is_away_is_waited_for(world: World) -> None:
    await world.look()
    world.hold("team/a")
    world.status = 503
    assert await world.look() == "the Node: 503: in trouble"
    world.status = 200
    assert await world.look() is None
    assert world.holder == "team/a/"


async def test_a_silent_driver_answers_no_request(world: World) -> None:
    await world.look()
    world.annotations[names.DEVICES_REQUESTED_ANNOTATION] = "t1"
    world.gpus = hardware.HardwareError("NVML: Unknown Error")
    assert await world.look() == "the GPUs: NVML: Unknown Error"
    assert "token" not in world.document


async def test_a_kubelet_that_restarts_is_believed_once_it_knows_its_pods(world: World) -> None:
    world.hold("team/a")
    await world.look()
    await world.kubelet.stop()
    assert "PodResources" in str(await world.look())
    world.kubelet.pods = []
    await world.kubelet.start()
    world.annotations[names.DEVICES_REQUESTED_ANNOTATION] = "t1"
    assert "does not list gpufleet-system/agent" in str(await world.look())
    world.hold(None)
    assert await world.look() == "the kubelet has just started"
    assert (world.holder, "token" in world.document) == ("team/a/", False)
    world.hold("team/a")
    assert await world.look() is None
    assert (world.holder, world.document["token"]) == ("team/a/", "t1")


async def test_figures(world: World) -> None:
    world.hold("team/a")
    await world.look()
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for metric in world.agent.collect()
        for sample in metric.samples
    }
    assert values == {
        ("gpufleet_node_agent_looks_total", "done"): 1,
        ("gpufleet_node_agent_looks_total", "failed"): 0,
        ("gpufleet_node_agent_writes_total",): 1,
        ("gpufleet_node_agent_held_devices",): 1,
    }
