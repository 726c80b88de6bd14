"""The operator process: serve probes, wait for the lease, lead, and leave cleanly."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

from gpufleet import lease, settings
from gpufleet.handlers import http, operator
from gpufleet.report import logs, metrics

_log = logging.getLogger(__name__)


def run(options: settings.Settings) -> None:
    """Runs until SIGTERM or SIGINT; exits with 1 where leadership or the watch of our kinds was lost."""
    logs.configure(options.log_level)
    try:
        asyncio.run(_run(options))
    except Exception:
        _log.exception("the operator ends")
        sys.exit(1)


async def _run(options: settings.Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    elector = lease.Elector(options, lease.ApiLeaseStore(options), _die)
    life = http.Life(read_holder=lambda: elector.holder)
    async with http.serving(life, options):
        elector.start()
        try:
            await _wait_for_lease(elector, stop)
            if not stop.is_set():
                metrics.LEADER.set(1)
                await operator.run_until(stop, lambda: operator.lead(options, life))
        finally:
            metrics.LEADER.set(0)
            await asyncio.to_thread(elector.release)


async def _wait_for_lease(elector: lease.Elector, stop: asyncio.Event) -> None:
    while not stop.is_set() and not await asyncio.to_thread(elector.acquire, 0.2):
        pass


def _die() -> None:
    """Ends the process at once: another one leads, so nothing may be written any more, not even politely."""
    os._exit(1)
