"""Open loops against the ready servers of a service: each request at its time, to the servers in turn."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from tritonclient.grpc import aio

from gpufleet.agents.load import requests
from tests.bench.real import judging

_PORT = 8001


Server = tuple[str, str]
"""Name and address: another server may get the address of one that is gone."""


@dataclasses.dataclass
class Caller:
    """Sends to one service what comes to it; `find_servers` gives its ready servers, names and addresses.

    That is what a gRPC client with the round_robin policy does behind a headless Service, which the
    simulator does too: a connection for each server, and whom the API server calls ready is in turn.
    """

    model: str
    timeout_s: float
    find_servers: Callable[[], Sequence[Server]]
    answers: list[judging.Answer] = dataclasses.field(default_factory=list)
    errors: dict[str, int] = dataclasses.field(default_factory=lambda: defaultdict(int))
    _clients: dict[Server, Any] = dataclasses.field(default_factory=dict)
    _inputs: Any = None
    _turn: int = 0

    async def run(self, came_s: Sequence[float], begin_s: float) -> None:
        """Requests at these seconds after `begin_s` of the monotonic clock, until the last is answered."""
        self._inputs = self._inputs or await self._build_inputs()
        running = set[asyncio.Task[None]]()
        for due_s in came_s:
            if (wait_s := begin_s + due_s - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            task = asyncio.create_task(self._send(due_s, begin_s))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)

    async def close(self) -> None:
        await asyncio.gather(*(client.close() for client in self._clients.values()))

    async def _send(self, due_s: float, begin_s: float) -> None:
        """Latency counts from when it was due; a request that fails never comes."""
        lag_s = time.monotonic() - begin_s - due_s
        servers = self.find_servers()
        took_s = math.inf
        if servers:
            self._turn += 1
            client = self._connect(servers[self._turn % len(servers)])
            try:
                await client.infer(self.model, self._inputs, client_timeout=self.timeout_s)
                took_s = time.monotonic() - begin_s - due_s
            except Exception as error:
                self.errors[str(error)[:120]] += 1
        else:
            self.errors["no server is ready"] += 1
        self.answers.append(judging.Answer(due_s, took_s, lag_s))

    def _connect(self, server: Server) -> Any:
        if server not in self._clients:
            self._clients[server] = aio.InferenceServerClient(f"{server[1]}:{_PORT}")
        return self._clients[server]

    async def _build_inputs(self) -> Any:
        answer = await self._connect(self.find_servers()[0]).get_model_config(self.model)
        return requests.build_inputs(answer.config, 1, {}, 1.0)
