"""Keeps the server at the list: loads what is wanted, unloads what is not, again and again."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
from typing import Protocol

from gpufleet import clock
from gpufleet.agents.model import server, settings
from gpufleet.agents.model import wanted as lists
from gpufleet.state import models as state_models

_LOG = logging.getLogger(__name__)


class Repository(Protocol):
    """What the keeper asks of a server."""

    async def loaded(self) -> frozenset[str]: ...

    async def load(self, name: str, config: str) -> None: ...

    async def unload(self, name: str) -> None: ...


@dataclasses.dataclass
class Keeper:
    """The agent's whole state; one step at a time."""

    settings: settings.AgentSettings
    server: Repository
    clock: clock.Clock = dataclasses.field(default_factory=clock.SystemClock)
    wanted: lists.Wanted = dataclasses.field(default_factory=lists.Wanted)
    entries: dict[str, lists.Entry] = dataclasses.field(default_factory=dict)
    is_ready: bool = False
    is_draining: bool = False

    async def run(self) -> None:
        """Never returns; what fails in one step is tried in the next."""
        while True:
            try:
                await self.step()
            except server.ServerDownError:
                self._forget_lost(frozenset())
                self.is_ready = False
            except (OSError, ValueError) as error:
                _LOG.warning("the list of wanted models cannot be read", extra={"error": str(error)})
            await asyncio.sleep(self.settings.poll_s)

    async def step(self) -> None:
        """Looks at the list and the server once and does all that is due. Raises ServerDownError."""
        self.wanted = lists.parse(self.settings.wanted.read_text())
        running = await self.server.loaded()
        self._forget_lost(running)
        names = {one.name for one in self.wanted.models}
        for name in sorted(running - names):
            _LOG.info("unloading", extra={"model": name})
            await self.server.unload(name)
            self.entries.pop(name, None)
        self._judge()
        await asyncio.gather(*(self._load(one) for one in self.wanted.models))
        self._judge()

    def report(self) -> state_models.AgentReport:
        return lists.report(self.wanted, self.entries, self._marks())

    def _forget_lost(self, running: frozenset[str]) -> None:
        """A server that restarted has nothing of what it had before."""
        for name, entry in self.entries.items():
            if entry.loaded and name not in running:
                entry.loaded = ""

    async def _load(self, model: lists.WantedModel) -> None:
        entry = self.entries.setdefault(model.name, lists.Entry())
        mark = self._marks()[model.name]
        if not entry.is_due(mark, self.clock.monotonic_s()):
            return
        _LOG.info("loading", extra={"model": model.name})
        started_s = self.clock.monotonic_s()
        try:
            await self.server.load(model.name, model.config)
        except server.LoadError as error:
            entry.note_failed(mark, str(error), self.clock.monotonic_s())
            _LOG.warning("not loaded", extra={"model": model.name, "error": str(error)})
        else:
            entry.note_loaded(mark)
            seconds = self.clock.monotonic_s() - started_s
            _LOG.info("loaded", extra={"model": model.name, "seconds": seconds})
        self._judge()

    def _marks(self) -> dict[str, str]:
        files = self._files_mark()
        return {one.name: lists.fingerprint(one, files) for one in self.wanted.models}

    def _files_mark(self) -> str:
        """A ConfigMap's files change together, and its `..data` link with them; other volumes are not watched."""
        with contextlib.suppress(OSError):
            return os.readlink(self.settings.models / "..data")
        return ""

    def _judge(self) -> None:
        self.is_ready = lists.is_ready(self.wanted, self.entries, self._marks(), was_ready=self.is_ready)
