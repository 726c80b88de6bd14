"""`gpufleet agent model`: makes the key, serves probes, keeps the models."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import logging
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web
from pythonjsonlogger import json as json_logs

from gpufleet.agents.model import connections, keeper, key, measurer, server, settings
from gpufleet.state import names

_CLIENT_PORTS = frozenset({names.TRITON_HTTP_PORT, names.TRITON_GRPC_PORT})
_DRAIN_POLL_S = 0.5


def run(config: settings.AgentSettings) -> None:
    """Runs until SIGTERM."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(json_logs.JsonFormatter("{asctime}{levelname}{message}", style="{"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    asyncio.run(_main(config))


async def _main(config: settings.AgentSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    triton = server.Server(config.triton, config.key_header, key.ensure(config.key), config.load_timeout_s)
    kept = keeper.Keeper(config, triton)
    read_metrics = functools.partial(measurer.fetch_metrics, config.metrics_url)
    measuring = measurer.Measurer(kept, triton, read_metrics)
    async with serving(kept):
        tasks = [asyncio.create_task(kept.run()), asyncio.create_task(measuring.run())]
        await asyncio.wait([*tasks, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
    await triton.close()


@contextlib.asynccontextmanager
async def serving(kept: keeper.Keeper) -> AsyncIterator[None]:
    """Serves /healthz, /readyz, /models and /prestop while the body runs."""
    app = web.Application()
    app.router.add_get("/healthz", _answer_with(kept, _healthz))
    app.router.add_get("/readyz", _answer_with(kept, _readyz))
    app.router.add_get("/models", _answer_with(kept, _models))
    app.router.add_get("/prestop", _answer_with(kept, _prestop))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, kept.settings.host, kept.settings.port).start()
    try:
        yield
    finally:
        await runner.cleanup()


_Answer = Callable[[keeper.Keeper], Awaitable[web.Response]]


def _answer_with(kept: keeper.Keeper, answer: _Answer) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        return await answer(kept)

    return handle


async def _healthz(kept: keeper.Keeper) -> web.Response:
    return web.json_response({"status": "ok"})


async def _readyz(kept: keeper.Keeper) -> web.Response:
    is_open = kept.is_ready and not kept.is_draining
    return web.json_response({"ready": is_open, "draining": kept.is_draining}, status=200 if is_open else 503)


async def _models(kept: keeper.Keeper) -> web.Response:
    return web.json_response(dataclasses.asdict(kept.report()))


async def _prestop(kept: keeper.Keeper) -> web.Response:
    """Answers when clients have turned to other pods; only then is Triton told to stop."""
    kept.is_draining = True
    await drain(kept.settings, lambda: connections.count_clients(_CLIENT_PORTS))
    return web.json_response({"drained": True})


async def drain(config: settings.AgentSettings, count_clients: Callable[[], int]) -> None:
    """Waits for the routers, then for the clients, whose connections Triton closes when they grow old."""
    await asyncio.sleep(config.drain_s)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(config.drain_limit_s - config.drain_s):
            while count_clients():  # noqa: ASYNC110 - the kernel tells nobody when a connection ends
                await asyncio.sleep(_DRAIN_POLL_S)
