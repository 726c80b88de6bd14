"""Runs the node agent until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys

from pythonjsonlogger import json as json_logs

from gpufleet import exporter, kube
from gpufleet import settings as client_settings
from gpufleet.agents.node import agent, hardware, nvml
from gpufleet.agents.node import settings as settings_


async def serve(config: settings_.Settings) -> None:
    """Look for ever, with probes and metrics beside."""
    reader = hardware.Reader(config.simulated_gpus, nvml.read)
    boot_id = config.boot_id_file.read_text().strip()
    async with kube.connect(client_settings.Settings()) as client:
        looking = agent.Agent(client, config, boot_id, reader.read)
        app = exporter.build_app(looking, lambda: looking.problem)
        server = await exporter.serve(app, config.http_host, config.http_port)
        try:
            await looking.run(config.poll_s)
        finally:
            await server.cleanup()


async def _until_signal(config: settings_.Settings) -> None:
    loop = asyncio.get_running_loop()
    task = loop.create_task(serve(config))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def main() -> None:
    """Entry of `gpufleet agent node`."""
    config = settings_.Settings()  # type: ignore[call-arg]  # the environment has the rest
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(json_logs.JsonFormatter("{asctime}{levelname}{message}", style="{"))
    logging.basicConfig(level=config.log_level, handlers=[handler])
    asyncio.run(_until_signal(config))
