"""The simulator's own Node object: what it is told there, and the labels it writes back."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from gpufleet.simgpu import faults, inventory, kube, labels

log = logging.getLogger(__name__)

PATH = "/api/v1/nodes"
GPUS_ANNOTATION = "gpufleet.dev/simgpu"
MIG_CONFIG = "nvidia.com/mig.config"
MIG_STATE = "nvidia.com/mig.config.state"


class NodeView:
    """The latest state of the node; `changes` counts them, `wait` sleeps until the next."""

    def __init__(self, body: dict[str, Any]) -> None:
        self._body = body
        self.faults = faults.parse(self.annotations.get(faults.ANNOTATION))
        self.changes = 0
        self._moved = asyncio.Condition()

    @property
    def labels(self) -> dict[str, str]:
        return self._body["metadata"].get("labels") or {}

    @property
    def annotations(self) -> dict[str, str]:
        return self._body["metadata"].get("annotations") or {}

    @property
    def boot_id(self) -> str:
        return str(self._body.get("status", {}).get("nodeInfo", {}).get("bootID", ""))

    @property
    def wanted_gpus(self) -> str | None:
        """The annotation `<product>=<count>`, which overrides the settings."""
        return self.annotations.get(GPUS_ANNOTATION)

    async def update(self, body: dict[str, Any] | None) -> None:
        """Take a newer state; a deleted node keeps its last one."""
        if body is None:
            return
        async with self._moved:
            before, self._body = self.annotations.get(faults.ANNOTATION), body
            if (fault := self.annotations.get(faults.ANNOTATION)) != before:
                self.faults = faults.parse(fault)
            self.changes += 1
            self._moved.notify_all()

    async def wait(self, seen: int) -> int:
        """The change count after `seen`, as soon as there is one."""
        async with self._moved:
            await self._moved.wait_for(lambda: self.changes != seen)
            return self.changes


class Publisher:
    """Keeps the node's labels equal to its GPUs, and announces mig-manager's state with them."""

    def __init__(self, api: kube.Api, view: NodeView, stock: inventory.Inventory, name: str) -> None:
        self._api = api
        self._view = view
        self._stock = stock
        self._path = f"{PATH}/{name}"
        self._state: str | None = None
        self._lock = asyncio.Lock()

    async def publish(self, state: str | None = None) -> None:
        """Write labels that differ, in one request, until the server has taken them."""
        self._state = state or self._state
        while True:
            try:
                async with self._lock:
                    await self._write()
                return
            except kube.TRANSIENT as error:
                log.warning("labels of the node: %s; again in %.0f s", error, kube.RETRY_S)
                await asyncio.sleep(kube.RETRY_S)

    async def run_on_gpus(self) -> None:
        """Publish after every change of the GPUs, for ever."""
        seen = -1
        while True:
            seen = await self._stock.wait(seen)
            await self.publish()

    async def run_on_node(self) -> None:
        """Publish again whatever someone else changed on the node, for ever."""
        seen = -1
        while True:
            seen = await self._view.wait(seen)
            await self.publish()

    async def _write(self) -> None:
        wanted = labels.build_labels(self._stock)
        state = {MIG_STATE: self._state} if self._state else {}
        patch = labels.plan_patch(self._view.labels, wanted)
        patch |= {key: value for key, value in state.items() if self._view.labels.get(key) != value}
        if patch:
            # The watch alone moves the view: a response here could be newer than events still to come,
            # and the view would go back in time.
            await self._api.patch(self._path, {"metadata": {"labels": patch}})
