"""`gpufleet agent load`: one run against one model, told as JSON lines."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from tritonclient.grpc import aio

from gpufleet import clock
from gpufleet.agents.load import outcome, requests, traffic

PROGRESS_S = 1.0
_CLIENT_TIMEOUT_S = 60.0
_WAIT_FOR_READY = json.dumps({"methodConfig": [{"name": [{}], "waitForReady": True}]})


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """Where the requests go: `url` is host:port of Triton's gRPC endpoint, or a gRPC target such as dns:///."""

    url: str
    model: str
    batch: int = 1
    shapes: Mapping[str, Sequence[int]] = dataclasses.field(default_factory=dict)
    fill: float = 1.0
    balance: bool = False
    wait_for_ready: bool = False
    """A request waits for a connection that is being made instead of failing with it."""


def run(target: Target, plan: traffic.Plan) -> int:
    """The exit code: 1 where a request failed."""
    found = asyncio.run(_run(target, plan))
    _print({"result": found.to_json()})
    return 1 if found.failed else 0


async def _run(target: Target, plan: traffic.Plan) -> outcome.Outcome:
    found, time = outcome.Outcome(), clock.SystemClock()
    async with connected(target, plan.concurrency) as clients:
        answer = await clients[0].get_model_config(target.model)
        inputs = requests.build_inputs(answer.config, target.batch, target.shapes, target.fill)

        async def send(channel: int) -> None:
            await clients[channel].infer(target.model, inputs, client_timeout=_CLIENT_TIMEOUT_S)

        telling = asyncio.create_task(_tell(found))
        try:
            return await traffic.drive(plan, send, time, found)
        finally:
            telling.cancel()


@contextlib.asynccontextmanager
async def connected(target: Target, channels: int) -> AsyncIterator[list[Any]]:
    """Clients with a connection each, so that each may reach another server."""
    options: list[tuple[str, Any]] = [("grpc.use_local_subchannel_pool", 1)]
    if target.balance:
        options.append(("grpc.lb_policy_name", "round_robin"))
    if target.wait_for_ready:
        options.append(("grpc.service_config", _WAIT_FOR_READY))
    clients = [aio.InferenceServerClient(target.url, channel_args=options) for _ in range(channels)]
    try:
        yield clients
    finally:
        await asyncio.gather(*(client.close() for client in clients))


async def _tell(found: outcome.Outcome) -> None:
    while True:
        await asyncio.sleep(PROGRESS_S)
        _print({"progress": {"sent": found.sent, "failed": found.failed}})


def _print(line: Mapping[str, Any]) -> None:
    print(json.dumps(line), file=sys.stdout, flush=True)
