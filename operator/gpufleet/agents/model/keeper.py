"""Keeps the server at the list: loads what is wanted, unloads what is not, again and again."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
from collections.abc import Collection
from typing import Protocol

from gpufleet import clock
from gpufleet.agents.model import memory, server, settings
from gpufleet.agents.model import wanted as lists
from gpufleet.state import models as state_models

_LOG = logging.getLogger(__name__)


class Repository(Protocol):
    """What the keeper asks of a server."""

    async def loaded(self) -> dict[str, str]: ...

    async def load(self, name: str, config: str, *, is_ensemble: bool = False) -> None: ...

    async def unload(self, name: str) -> None: ...


@dataclasses.dataclass
class Keeper:
    """The agent's whole state. Loads run beside the steps, so that a long one delays no other change."""

    settings: settings.AgentSettings
    server: Repository
    clock: clock.Clock = dataclasses.field(default_factory=clock.SystemClock)
    wanted: lists.Wanted = dataclasses.field(default_factory=lists.Wanted)
    entries: dict[str, lists.Entry] = dataclasses.field(default_factory=dict)
    running: dict[str, str] = dataclasses.field(default_factory=dict)
    """Models that answered at the last look, and their versions."""
    loads: dict[str, asyncio.Task[None]] = dataclasses.field(default_factory=dict)
    measured: dict[str, state_models.Measured] = dataclasses.field(default_factory=dict)
    """What was counted of the models that are to be measured; the measurer fills it."""
    memory_used_mib: int | None = None
    settled: str = ""
    """Revision of the last list of which every model was tried."""
    opened: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    """Set while `is_ready`."""
    is_draining: bool = False

    def __post_init__(self) -> None:
        for name, mark in memory.read(self.settings.state).items():
            self.entries[name] = lists.Entry(loaded=mark)

    @property
    def is_ready(self) -> bool:
        """Whether the models let traffic come."""
        return self.opened.is_set()

    async def run(self) -> None:
        """Never returns; what fails in one step is tried in the next."""
        while True:
            try:
                await self.step()
            except server.ServerDownError:
                self._note_down()
            except (server.NoAnswerError, OSError, ValueError) as error:
                _LOG.warning("this step must be tried again", extra={"error": str(error)})
            is_calm = self.is_ready and not self.is_draining
            await asyncio.sleep(self.settings.poll_s if is_calm else self.settings.first_poll_s)

    async def step(self) -> None:
        """Looks at the list and the server once and starts all that is due.

        Raises ServerDownError, NoAnswerError, and OSError or ValueError on a list that cannot be read.
        """
        self._reap()
        self.wanted = lists.parse(self.settings.wanted.read_text(), self.settings.pod)
        self.running = running = await self.server.loaded()
        self._forget_lost(running)
        marks = self._marks()
        plan = lists.plan(self.wanted, self.entries, marks, running, self.loads, self.clock.monotonic_s())
        for name in plan.unload:
            await self._unload(name)
        for model in plan.load:
            self.loads[model.name] = asyncio.create_task(self._load(model, marks[model.name]))
        self._judge()
        # Here and not where a load ends: a report of the list as settled has the versions that answer.
        if lists.is_settled(self.wanted, self.entries, marks):
            self.settled = self.wanted.revision

    def report(self) -> state_models.AgentReport:
        """The revision is the settled one: while models are on their way, it is not yet that of the list."""
        found = lists.report(self.wanted, self.entries, self._marks(), self.running)
        return state_models.AgentReport(
            self.settled,
            tuple(dataclasses.replace(one, measured=self.measured.get(one.name)) for one in found),
            self.memory_used_mib,
        )

    def _note_down(self) -> None:
        """A server that comes back has nothing, and whoever ended the one before drained that one only."""
        self.opened.clear()
        self.is_draining = False

    def _reap(self) -> None:
        for name in [name for name, task in self.loads.items() if task.done()]:
            self.loads.pop(name).result()

    def _forget_lost(self, running: Collection[str]) -> None:
        """A server that restarted has nothing of what it had before."""
        had = [name for name, entry in self.entries.items() if entry.loaded]
        lost = [name for name in had if name not in running]
        for name in lost:
            self.entries[name].loaded = ""
        if lost and lost == had:
            self._note_down()

    async def reload(self, name: str) -> None:
        """Has the model loaded anew by the next step. Raises what the server's unload raises."""
        _LOG.warning("every request fails: loading again", extra={"model": name})
        await self.server.unload(name)
        self.entries[name].loaded = ""
        self._judge()

    async def _unload(self, name: str) -> None:
        _LOG.info("unloading", extra={"model": name})
        await self.server.unload(name)
        self.entries.pop(name, None)
        self._remember()

    async def _load(self, model: lists.WantedModel, mark: str) -> None:
        entry = self.entries.setdefault(model.name, lists.Entry())
        _LOG.info("loading", extra={"model": model.name})
        started_s = self.clock.monotonic_s()
        try:
            await self.server.load(model.name, model.config, is_ensemble=bool(model.after))
        except server.ServerDownError:
            return
        except server.LoadError as error:
            entry.note_failed(mark, str(error), self.clock.monotonic_s())
            _LOG.warning("not loaded", extra={"model": model.name, "error": str(error)})
        else:
            seconds = self.clock.monotonic_s() - started_s
            entry.note_loaded(mark, round(seconds * 1000))
            self._remember()
            _LOG.info("loaded", extra={"model": model.name, "seconds": seconds})
        self._judge()

    def _remember(self) -> None:
        with contextlib.suppress(OSError):
            memory.write(
                self.settings.state,
                {name: entry.loaded for name, entry in self.entries.items() if entry.loaded},
            )

    def _marks(self) -> dict[str, str]:
        files = self._files_mark()
        return {one.name: lists.fingerprint(one, files) for one in self.wanted.models}

    def _files_mark(self) -> str:
        """A ConfigMap's files change with its `..data` link; other volumes are not watched."""
        with contextlib.suppress(OSError):
            return os.readlink(self.settings.models / "..data")
        return ""

    def _judge(self) -> None:
        if lists.is_ready(self.wanted, self.entries, self._marks(), was_ready=self.is_ready):
            self.opened.set()
        else:
            self.opened.clear()
