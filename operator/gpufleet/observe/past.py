"""What Prometheus knows of the hours before the operator started: the load of each service, minute by minute.

Asked once, in a task of its own, so that no decision waits for it: whoever decides meanwhile is as careful
as without a past. One range query tells of the whole fleet.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable

from gpufleet import clock, settings
from gpufleet.decide.autoscaling import forecast, recall
from gpufleet.observe import answers, prometheus, queries

HOURS = 6
"""More than margins are chosen by, and enough for seasons of three hours."""
ATTEMPTS = 10
PAUSE_S = 30.0
"""Between two attempts: Prometheus may start together with the operator."""

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
        query = queries.build_past(self._options.prometheus_window)
        async with self._asker.open() as session:
            found = await self._asker.ask_range(
                session, query, until_s - HOURS * 3600, until_s, forecast.BIN_S
            )
        # Seconds for a thousand services, in which the event loop has other things to do.
        return await asyncio.to_thread(
            lambda: {key: recall.build(points) for key, points in sorted(found.items())}
        )
