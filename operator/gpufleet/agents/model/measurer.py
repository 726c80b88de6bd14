"""Reads the counters of the models again and again: for the operator, and to revive those that only fail."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import aiohttp

from gpufleet import clock
from gpufleet.agents.model import keeper, measure, revival, server

_LOG = logging.getLogger(__name__)
MEMORY_S = 60.0
"""Interval at which the memory is looked at where nothing is measured."""
_TIMEOUT_S = 5.0
_PASSING = (server.ServerDownError, server.NoAnswerError, aiohttp.ClientError, OSError, ValueError)


class Counting(Protocol):
    """What the measurer asks of a server."""

    async def statistics(self) -> Mapping[str, Any]: ...


@dataclasses.dataclass
class Measurer:
    """Fills `kept.measured`, and has models loaded again whose every request fails."""

    kept: keeper.Keeper
    server: Counting
    read_metrics: Callable[[], Awaitable[str]]
    clock: clock.Clock = dataclasses.field(default_factory=clock.SystemClock)
    windows: dict[str, measure.Window] = dataclasses.field(default_factory=dict)
    marks: dict[str, str] = dataclasses.field(default_factory=dict)
    """The fingerprint with which each window's model was loaded."""
    records: dict[str, revival.Record] = dataclasses.field(default_factory=dict)
    memory_at_s: float = -math.inf

    async def run(self) -> None:
        """Never returns; a server that does not answer is asked again."""
        while True:
            try:
                await self.step()
            except _PASSING as error:
                _LOG.debug("not measured", extra={"error": str(error)})
            await asyncio.sleep(self.kept.settings.measure_s)

    async def step(self) -> None:
        """One sample of every measured model, and of the memory. Raises what the reads raise."""
        wanted = [one.name for one in self.kept.wanted.models if one.measured]
        for name in self.windows.keys() - set(wanted):
            del self.windows[name], self.kept.measured[name]
        statistics = await self.server.statistics()
        now_s = self.clock.monotonic_s()
        await self._revive(statistics, now_s)
        if not wanted and now_s - self.memory_at_s < MEMORY_S:
            return
        metrics = await self.read_metrics()
        self.memory_at_s = now_s
        self.kept.memory_used_mib = measure.read_memory_mib(metrics)
        for name in wanted:
            window = self.windows.setdefault(name, measure.Window(self.kept.settings.window_s))
            entry = self.kept.entries.get(name)
            mark = entry.loaded if entry else ""
            if self.marks.get(name) != mark:
                window.clear()
                self.marks[name] = mark
            window.add(now_s, measure.read_counters(statistics, name))
            self.kept.measured[name] = window.read(measure.read_latencies(metrics, name))

    async def _revive(self, statistics: Mapping[str, Any], now_s: float) -> None:
        """Loads again what answers nothing any more."""
        loaded = {name for name, entry in self.kept.entries.items() if entry.loaded}
        for name in self.records.keys() - self.kept.entries.keys():
            del self.records[name]
        for name in sorted(loaded - self.kept.loads.keys()):
            counted = measure.read_counters(statistics, name)
            record = self.records.setdefault(name, revival.Record())
            if record.note(counted.requests, counted.failures, now_s):
                await self.kept.reload(name)


async def fetch_metrics(url: str) -> str:
    """Triton's metrics as text. Raises aiohttp.ClientError, TimeoutError."""
    limit = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=limit, trust_env=False) as session, session.get(url) as response:
        response.raise_for_status()
        return await response.text()
