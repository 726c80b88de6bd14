"""The model agent: keeps the models, serves probes, and ends after Triton.

Triton is up within half a second and can load, so what only the probes need is imported meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import signal
import sys
from collections.abc import Callable

from pythonjsonlogger import json as json_logs

from gpufleet.agents.model import connections, keeper, key, server, settings
from gpufleet.state import names

_CLIENT_PORTS = frozenset({names.TRITON_HTTP_PORT, names.TRITON_GRPC_PORT})
_DRAIN_POLL_S = 0.5
_PRESTOP_S = 5.0
"""How long after our own SIGTERM the kubelet may take to run the hook of Triton's container."""


def run(config: settings.AgentSettings) -> None:
    """Runs until SIGTERM, and while Triton drains."""
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
    keeping = asyncio.create_task(kept.run())
    await asyncio.to_thread(_import_rest)
    from gpufleet.agents.model import http, measurer

    read_metrics = functools.partial(measurer.fetch_metrics, config.metrics_url)
    measuring = measurer.Measurer(kept, triton, read_metrics)
    count_clients = functools.partial(connections.count_clients, _CLIENT_PORTS)
    async with http.serving(kept, functools.partial(drain, config, count_clients)):
        tasks = [keeping, asyncio.create_task(measuring.run())]
        ending = asyncio.create_task(wait_for_end(stop, kept))
        await asyncio.wait([*tasks, ending], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
    await triton.close()


def _import_rest() -> None:
    """What is imported in a thread of its own holds up no load."""
    from gpufleet.agents.model import http, measurer  # noqa: F401


async def drain(config: settings.AgentSettings, count_clients: Callable[[], int]) -> None:
    """Waits for the routers, then for the clients, whose connections Triton closes when they grow old."""
    await asyncio.sleep(config.drain_s)
    await _wait_until(lambda: not count_clients(), config.drain_limit_s - config.drain_s)


async def wait_for_end(stop: asyncio.Event, kept: keeper.Keeper, prestop_s: float = _PRESTOP_S) -> None:
    """Until `stop`, and then until Triton is gone: the kubelet stops all containers of a pod at once."""
    await stop.wait()
    await _wait_until(lambda: kept.is_draining, prestop_s)
    await _wait_until(lambda: not kept.is_draining, None)


async def _wait_until(holds: Callable[[], bool], limit_s: float | None) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            while not holds():  # noqa: ASYNC110 - neither the kernel nor the kubelet tells
                await asyncio.sleep(_DRAIN_POLL_S)
