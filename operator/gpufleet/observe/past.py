"""What Prometheus knows of the hours before the operator started: the load of each service, minute by minute.

Asked once, in a task of its own, so that no decision waits for it: whoever decides meanwhile is as careful
as without a past. A range query tells of the whole fleet for a few hours, the newest first.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence

import aiohttp

from gpufleet import clock, settings
from gpufleet.decide.autoscaling import forecast, recall
from gpufleet.observe import answers, prometheus, queries

HOURS = 6
"""Of one query, so that its answer stays below LARGEST_ANSWER: 360 points of some 30 bytes for a service."""
PARTS = 8
"""Two days: as much as a history holds, which a daily season is found in."""
ATTEMPTS = 10
PAUSE_S = 30.0
"""Between two attempts: Prometheus may start together with the operator."""

_Part = Mapping[recall.ServiceKey, list[tuple[float, float]]]

_LOG = logging.getLogger(__name__)


class Historian:
    """Tells `on_past` once of what there was; never, where Prometheus does not answer in time."""

    def __init__(
        self,
        options: settings.Settings,
        on_past: Callable[[recall.Past], None],
        time_source: clock.Clock | None = None,
    ) -> None:
        self._options = options
        self._clock = time_source or clock.SystemClock()
        self._on_past = on_past
        self._asker = prometheus.Asker(options)

    async def run(self) -> None:
        """Asks until there is an answer, a few times at most."""
        if not self._options.prometheus_url:
            return
        for _ in range(ATTEMPTS):
            try:
                self._on_past(await self.read())
                return
            except answers.PrometheusError as error:
                _LOG.warning("no loads from before the start: %s", error)
            await asyncio.sleep(PAUSE_S)

    async def read(self) -> recall.Past:
        """Histories up to the last whole minute. Raises answers.PrometheusError."""
        until_s = math.floor(self._clock.now().timestamp() / forecast.BIN_S) * forecast.BIN_S
        async with self._asker.open() as session:
            parts = [await self._read_part(session, until_s)]
            for part in range(1, PARTS):
                try:
                    parts.append(await self._read_part(session, until_s - part * (HOURS * 3600)))
                except answers.PrometheusError as error:
                    _LOG.warning("loads of the last %d hours are all that is known: %s", part * HOURS, error)
                    break
        # Seconds for a thousand services, in which the event loop has other things to do.
        return await asyncio.to_thread(_join, parts)

    async def _read_part(self, session: aiohttp.ClientSession, until_s: float) -> _Part:
        """Bins that end after those of the part before it."""
        from_s = until_s - HOURS * 3600 + forecast.BIN_S
        query = queries.build_past(self._options.prometheus_window)
        return await self._asker.ask_range(session, query, from_s, until_s, forecast.BIN_S)


def _join(parts: Sequence[_Part]) -> recall.Past:
    """`parts` are the newest first."""
    found: dict[recall.ServiceKey, list[tuple[float, float]]] = {}
    for part in reversed(parts):
        for key, points in sorted(part.items()):
            found.setdefault(key, []).extend(points)
    return {key: recall.build(points) for key, points in found.items()}
