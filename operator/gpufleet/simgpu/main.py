"""Runs the simulated GPUs of one node: builds the parts, connects them, starts anew if told other GPUs."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import signal
import sys
from typing import NoReturn

from gpufleet import clock as clock_
from gpufleet import exporter
from gpufleet.simgpu import (
    dcgm,
    device,
    inventory,
    kube,
    migmanager,
    node,
    plugin,
    podresources,
    store,
    telemetry,
    usage,
)
from gpufleet.simgpu import settings as settings_

log = logging.getLogger(__name__)

STATE_FILE = "gpus.json"


class OtherGpusError(Exception):
    """The node's annotation now asks for other GPUs."""


class Simulator:
    """The parts of one node, from its Node object as it is at the start."""

    def __init__(
        self, settings: settings_.Settings, api: kube.Api, kubelet: kube.Api | None, view: node.NodeView
    ) -> None:
        clock = clock_.SystemClock()
        self._settings = settings
        self._api = api
        self._view = view
        self._wanted_gpus = view.wanted_gpus
        self.problem: str | None = None
        self.stock = inventory.Inventory(self._build_gpus(), settings.mig_strategy)
        self._state_file = settings.state_dir / STATE_FILE
        store.restore(self._state_file, self.stock, view.boot_id)
        store.save(self._state_file, self.stock, view.boot_id)
        self._holdings = podresources.Holdings(settings.pod_resources_socket, self.stock, clock)
        self._plugins = plugin.PluginSet(
            settings.device_plugins_dir, self.stock, self._holdings.note_allocated, settings.poll_s
        )
        self._publisher = node.Publisher(api, view, self.stock, settings.node_name)
        self._manager = migmanager.MigManager(
            self.stock,
            view,
            self._holdings,
            self._publisher.publish,
            self._commit,
            settings.reconfigure_s,
            sources=2,
        )
        self._stats = usage.KubeletStats(kubelet) if kubelet else None
        self._exporter = dcgm.Exporter(settings.node_name, clock)

    async def run(self) -> None:
        """Everything, until cancelled. Raises OtherGpusError (in a group) when the annotation changes."""
        app = exporter.build_app(self._exporter, self.why_not_ready)
        server = await exporter.serve(app, self._settings.http_host, self._settings.http_port)
        try:
            async with asyncio.TaskGroup() as group:
                for part in (
                    self._follow_node(), self._follow_configs(), self._follow_layouts(),
                    self._follow_faults(), self._poll(),
                    self._plugins.run(), self._manager.run(),
                    self._publisher.run_on_gpus(), self._publisher.run_on_node(),
                ):  # fmt: skip
                    group.create_task(part)
        finally:
            await server.cleanup()

    def why_not_ready(self) -> str | None:
        """What the node still lacks, in a sentence."""
        if self.problem:
            return self.problem
        if self.stock.gpus and not self._plugins.is_registered:
            return f"not registered with the kubelet in {self._settings.device_plugins_dir}"
        return None

    def _build_gpus(self) -> list[device.Gpu]:
        try:
            product, count = read_wanted_gpus(self._wanted_gpus, self._settings)
            return inventory.build_gpus(self._settings.node_name, product, count)
        except ValueError as error:
            self.problem = str(error)
            log.error("no GPUs: %s", error)
            return []

    async def _follow_node(self) -> None:
        await kube.follow(self._api, node.PATH, self._settings.node_name, self._view.update)

    async def _follow_configs(self) -> None:
        await self._follow_map(self._settings.mig_config_map)

    async def _follow_layouts(self) -> None:
        await self._follow_map(self._settings.mig_layouts_map)

    async def _follow_map(self, name: str) -> None:
        path = f"/api/v1/namespaces/{self._settings.namespace}/configmaps"
        await kube.follow(self._api, path, name, functools.partial(self._manager.update_configs, source=name))

    async def _follow_faults(self) -> None:
        seen = -1
        while True:
            seen = await self._view.wait(seen)
            if self._view.wanted_gpus != self._wanted_gpus:
                raise OtherGpusError(self._view.wanted_gpus)
            if self.stock.unhealthy != self._view.faults.unhealthy_gpus:
                self.stock.unhealthy = self._view.faults.unhealthy_gpus
                await self.stock.changed()

    async def _poll(self) -> None:
        while True:
            await self._holdings.refresh()
            if self._stats:
                await self._stats.refresh()
            readings = telemetry.read_devices(
                self.stock.gpus, self._holdings.holders, self._stats.uses if self._stats else {},
                self._settings.cores_at_full_load,
            )  # fmt: skip
            self._exporter.observe(readings, self._view.faults.xids)
            await asyncio.sleep(self._settings.poll_s)

    async def _commit(self) -> None:
        self.stock.advertise()
        store.save(self._state_file, self.stock, self._view.boot_id)
        await self.stock.changed()


def read_wanted_gpus(annotation: str | None, settings: settings_.Settings) -> tuple[str, int]:
    """Product and count for this node. Raises ValueError with the form that was expected."""
    if annotation is None:
        return settings.model, settings.count
    product, separator, count = annotation.partition("=")
    if not separator or not count.isdigit() or int(count) > 16:
        raise ValueError(f"annotation {node.GPUS_ANNOTATION}: {annotation!r} is not <product>=<0 to 16>")
    return product, int(count)


async def serve(settings: settings_.Settings) -> NoReturn:
    """Simulate for ever."""
    api = kube.Api(await kube.load_configuration())
    kubelet = None
    if settings.host_ip:
        kubelet = await kube.open_kubelet(
            settings.host_ip, settings.kubelet_port, settings.kubelet_insecure_tls
        )
    try:
        while True:
            view = node.NodeView(await _read_node(api, settings.node_name))
            try:
                await Simulator(settings, api, kubelet, view).run()
            except* OtherGpusError as other:
                log.info("the node's annotation asks for other GPUs: %s", other.exceptions)
    finally:
        for client in filter(None, (api, kubelet)):
            await client.close()


async def _read_node(api: kube.Api, name: str) -> dict[str, object]:
    while True:
        try:
            return await api.read(f"{node.PATH}/{name}")
        except kube.TRANSIENT as error:
            log.warning("node %s: %s; again in %.0f s", name, error, kube.RETRY_S)
            await asyncio.sleep(kube.RETRY_S)


def run(settings: settings_.Settings) -> None:
    """Simulate until SIGTERM or SIGINT."""

    async def until_signal() -> None:
        loop = asyncio.get_running_loop()
        task = loop.create_task(serve(settings))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(until_signal())


def main() -> None:
    """Entry of `gpufleet simgpu`."""
    settings = settings_.Settings()  # type: ignore[call-arg]  # the environment has the rest
    logging.basicConfig(
        stream=sys.stderr, level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    run(settings)
