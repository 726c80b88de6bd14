"""What goes over the wire, held against tritonclient's messages; Triton's answers as they reach people."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from gpufleet.agents.model import measure, server

KEY_HEADER = "triton-grpc-protocol-gpufleet-key"
STATISTICS = {
    "model_stats": [
        {"name": "a", "version": "10"},
        {"name": "a", "version": "2", "memory_usage": [{"type": "CPU", "byte_size": 1}]},
        {
            "name": "b",
            "version": "1",
            "inference_stats": {"success": {"count": 7, "ns": 900}, "fail": {"count": 1}, "queue": {"ns": 5}},
            "batch_stats": [
                {
                    "batch_size": 4,
                    "compute_input": {"count": 2, "ns": 10},
                    "compute_infer": {"count": 2, "ns": 40},
                    "compute_output": {"count": 2, "ns": 10},
                }
            ],
        },
    ]
}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param("no weights", "no weights", id="a reason"),
        pytest.param(
            "failed to load 'm', failed to poll from model repository",
            "failed to load 'm', failed to poll from model repository; "
            "the reason is in the log of the pod's container triton",
            id="no reason",
        ),
    ],
)
def test_explain(message: str, expected: str) -> None:
    assert server.explain(message) == expected


CONFIG = {"name": "e", "platform": "ensemble", "max_batch_size": 8, "ensemble_scheduling": {"step": []}}
SPURIOUS = "failed to load 'e', failed to poll from model repository"


class Triton(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Triton's own protocol, as tritonclient has it: refuses every load where `said`, and runs `running`."""

    def __init__(self, said: str = "", running: dict[str, Any] | None = None) -> None:
        self.said, self.running = said, running
        self.asked: list[Any] = []
        self.keys: set[str] = set()

    async def _note(self, request: Any, context: Any) -> None:
        self.asked.append(request)
        self.keys |= {value for name, value in context.invocation_metadata() if name == KEY_HEADER}

    async def RepositoryModelLoad(self, request: Any, context: Any) -> Any:
        await self._note(request, context)
        if self.said:
            await context.abort(grpc.StatusCode.INTERNAL, self.said)
        return service_pb2.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(self, request: Any, context: Any) -> Any:
        await self._note(request, context)
        return service_pb2.RepositoryModelUnloadResponse()

    async def ModelStatistics(self, request: Any, context: Any) -> Any:
        await self._note(request, context)
        return json_format.ParseDict(STATISTICS, service_pb2.ModelStatisticsResponse())

    async def ModelConfig(self, request: Any, context: Any) -> Any:
        if self.running is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "Request for unknown model")
        config = json_format.ParseDict(self.running, model_config_pb2.ModelConfig())
        return service_pb2.ModelConfigResponse(config=config)


@contextlib.asynccontextmanager
async def connected(triton: Triton) -> AsyncIterator[server.Server]:
    """The agent's side of a connection to it."""
    listening = grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(triton, listening)
    port = listening.add_insecure_port("127.0.0.1:0")
    await listening.start()
    one = server.Server(f"127.0.0.1:{port}", "gpufleet-key", "secret", 10)
    try:
        yield one
    finally:
        await one.close()
        await listening.stop(None)


async def test_what_is_loaded_and_counted() -> None:
    triton = Triton()
    async with connected(triton) as one:
        assert await one.loaded() == {"a": "2,10", "b": "1"}
        counted = await one.statistics()
    assert triton.keys == {"secret"}
    assert measure.read_counters(counted, "b") == measure.Counters(7, 1, {4: (2, 60)})


async def test_what_triton_is_asked_for() -> None:
    triton = Triton()
    async with connected(triton) as one:
        await one.load("a", "{}")
        await one.load("b", "")
        await one.load("e", "{}", is_ensemble=True)
        await one.unload("a")
    plain, own, ensemble, unloaded = triton.asked
    assert (plain.model_name, plain.parameters["config"].string_param) == ("a", "{}")
    assert (own.model_name, dict(own.parameters)) == ("b", {})
    assert ensemble.parameters["file:1/ensemble"].WhichOneof("parameter_choice") == "bytes_param"
    assert unloaded.model_name == "a"
    assert triton.keys == {"secret"}


async def test_nobody_listens() -> None:
    one = server.Server("127.0.0.1:9", "gpufleet-key", "secret", 10)
    for asking in (one.loaded, lambda: one.load("a", ""), lambda: one.unload("a")):
        with pytest.raises(server.ServerDownError):
            await asking()
    await one.close()


@pytest.mark.parametrize(
    ("said", "running", "is_ensemble", "loads"),
    [
        pytest.param(
            SPURIOUS, {**CONFIG, "version_policy": {"latest": {}}}, True, True, id="it runs as it should"
        ),
        pytest.param(SPURIOUS, {**CONFIG, "max_batch_size": 4}, True, False, id="an older one runs"),
        pytest.param(SPURIOUS, None, True, False, id="none runs"),
        pytest.param(SPURIOUS, CONFIG, False, False, id="no ensemble"),
        pytest.param("no weights", CONFIG, True, False, id="another reason"),
    ],
)
async def test_an_ensemble_may_run_although_its_load_failed(
    said: str, running: dict[str, Any] | None, is_ensemble: bool, loads: bool
) -> None:
    outcome = contextlib.nullcontext() if loads else pytest.raises(server.LoadError, match=said)
    async with connected(Triton(said, running)) as one:
        with outcome:
            await one.load("e", json.dumps(CONFIG), is_ensemble=is_ensemble)
