"""Times that come again, and floors for them, by the clock of their time zone."""

from __future__ import annotations

import datetime
import functools
import zoneinfo
from collections.abc import Iterable

import cronsim

from gpufleet.api import schedule


def find_floor(schedules: Iterable[schedule.Schedule], now: datetime.datetime) -> schedule.Schedule | None:
    """Of the schedules that hold now the one with the highest floor; None where none holds."""
    holding = [one for one in schedules if holds(one, now)]
    return max(holding, key=lambda one: (one.min_replicas, one.name), default=None)


def holds(one: schedule.Window, now: datetime.datetime) -> bool:
    """Whether the time is now."""
    began = _find_start(one.start, one.time_zone, now.replace(second=0, microsecond=0))
    return began is not None and (now - began).total_seconds() < one.duration_seconds


@functools.lru_cache(maxsize=4096)
def _find_start(start: str, time_zone: str, minute: datetime.datetime) -> datetime.datetime | None:
    """The last start that is not after this minute. Daylight saving is treated as Debian's cron does."""
    local = minute.astimezone(zoneinfo.ZoneInfo(time_zone))
    # The minute itself counts, and going back skips the moment from which it starts.
    after = local + datetime.timedelta(minutes=1)
    return next(cronsim.CronSim(start, after, reverse=True), None)
