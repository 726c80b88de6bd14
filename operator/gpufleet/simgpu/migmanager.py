"""mig-manager's label protocol: `nvidia.com/mig.config` in, `nvidia.com/mig.config.state` out.

As the real one: it acts on a *change* of the label's value only, does nothing where every GPU already
matches, clears GPUs that do not, and never evicts a pod (a held instance is `failed`). Pausing the other
operands through their deploy labels and rebooting are outside the simulation: between `pending` and the
end stand only the labels, the device plugin's list and a fixed time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from gpufleet.simgpu import device, inventory, migconfig, node, podresources, repartition

log = logging.getLogger(__name__)

PENDING = "pending"
SUCCESS = "success"
FAILED = "failed"
CONFIG_KEY = "config.yaml"


class MigManager:
    """Applies what the node's label asks for; `commit` keeps and announces a changed geometry."""

    def __init__(
        self,
        stock: inventory.Inventory,
        view: node.NodeView,
        holdings: podresources.Holdings,
        publish: Callable[[str], Awaitable[None]],
        commit: Callable[[], Awaitable[None]],
        reconfigure_s: float,
        sources: int = 1,
    ) -> None:
        """`sources` are the files that it waits for before it starts."""
        self._stock = stock
        self._view = view
        self._holdings = holdings
        self._publish = publish
        self._commit = commit
        self._reconfigure_s = reconfigure_s
        self._configs: dict[str, migconfig.Configs] = {}
        self._sources = sources
        self._defaults = migconfig.build_defaults(dict.fromkeys(gpu.model for gpu in stock.gpus))
        self.has_configs = asyncio.Event()

    async def update_configs(self, body: dict[str, Any] | None, source: str = "") -> None:
        """Take a ConfigMap as it is now; a file that cannot be read leaves the last good one in force."""
        self._configs.setdefault(source, {})
        try:
            text = (body or {}).get("data", {}).get(CONFIG_KEY)
            self._configs[source] = migconfig.parse(text) if text else {}
        except migconfig.ConfigError as error:
            log.error("%s", error)
        if len(self._configs) >= self._sources:
            self.has_configs.set()

    async def run(self) -> None:
        """Follow the label, for ever."""
        await self.has_configs.wait()
        applied: str | None = None
        seen = -1
        while True:
            seen = await self._view.wait(seen)
            requested = self._view.labels.get(node.MIG_CONFIG)
            if requested != applied and requested:
                await self._publish(await self.apply(requested))
            applied = requested

    async def apply(self, name: str) -> str:
        """Bring the GPUs to the named configuration; the state to announce."""
        known = (*self._configs.values(), self._defaults)
        entries = next((one[name] for one in known if one.get(name)), None)
        if entries is None:
            log.error("no MIG configuration is named %s", name)
            return FAILED
        try:
            wanted = migconfig.plan_wanted(entries, self._stock.gpus)
            if repartition.is_applied(self._stock.gpus, wanted):
                return SUCCESS
            await self._publish(PENDING)
            await self._work()
            repartition.apply(self._stock.gpus, wanted)
        except (migconfig.ConfigError, device.DeviceError) as error:
            log.error("MIG configuration %s: %s", name, error)
            return FAILED
        finally:
            await self._commit()
        return SUCCESS

    async def _work(self) -> None:
        """Pass the time that a change takes, with the faults that were asked for. Raises DeviceError."""
        await asyncio.sleep(self._reconfigure_s)
        seen = self._view.changes
        while self._view.faults.mig_stuck:
            seen = await self._view.wait(seen)
        if self._view.faults.mig_failed:
            raise device.DeviceError("ERROR_UNKNOWN", "told to fail by the node's annotation")
        await self._holdings.refresh()
