"""How much of its device a service has used within a day, hour by hour; pure, and of bounded size.

Values are those of the pod that uses most at a look: every server of a service has the same device.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping, Sequence

from gpufleet.state import samples

BINS = 20
"""Shares are counted in steps of 5 %, and a percentile is the upper edge of its step."""
HOURS = 24
_HOUR_S = 3600
_MINUTE_S = 60
STALE_S = 60.0
"""A sample older than this says nothing of now."""

Counts = tuple[int, ...]
_NONE: Counts = (0,) * BINS
_SIGNALS = ("engine", "sm", "dram")


@dataclasses.dataclass(frozen=True, slots=True)
class Hour:
    """One hour: looks by the share that they saw, per signal, and the most device memory.

    `minutes` has a bit for each minute with a look.
    """

    number: int
    minutes: int = 0
    engine: Counts = _NONE
    sm: Counts = _NONE
    dram: Counts = _NONE
    memory_mib: float = -1.0
    latency_s: float = -1.0


@dataclasses.dataclass(frozen=True)
class Usage:
    """Of one service on one kind of device: shares on another `device` are of another size."""

    device: str = ""
    look: int = 0
    hours: tuple[Hour, ...] = ()

    @property
    def minutes(self) -> int:
        """Minutes with a look."""
        return sum(hour.minutes.bit_count() for hour in self.hours)

    @property
    def memory_mib(self) -> float | None:
        """The most that was resident; None where it was never told."""
        most = max((hour.memory_mib for hour in self.hours), default=-1.0)
        return most if most >= 0 else None

    @property
    def latency_s(self) -> float | None:
        """The longest 99th percentile of a look."""
        most = max((hour.latency_s for hour in self.hours), default=-1.0)
        return most if most >= 0 else None

    def last(self, hours: int) -> Usage:
        """Its newest hours alone."""
        return dataclasses.replace(self, hours=self.hours[-hours:] if hours else ())

    def looks(self, signal: str) -> int:
        """How many looks knew this signal."""
        return sum(self._totals[signal])

    def share(self, signal: str, percentile: float) -> float | None:
        """Upper edge of the step that holds the percentile; None where the signal was never told."""
        counts = self._totals[signal]
        rank = math.ceil(percentile / 100 * sum(counts))
        seen = 0
        for step, number in enumerate(counts, 1):
            seen += number
            if number and seen >= rank:
                return step / BINS
        return None

    @functools.cached_property
    def _totals(self) -> Mapping[str, Counts]:
        """Looks by share over all hours, per signal."""
        return {
            signal: tuple(map(sum, zip(_NONE, *(getattr(hour, signal) for hour in self.hours), strict=True)))
            for signal in _SIGNALS
        }


def note(before: Usage, device: str, look: int, now_s: float, seen: Iterable[samples.PodSample]) -> Usage:
    """What is known after a look at the service's ready pods; one that was noted already changes nothing."""
    usage = before if before.device == device else Usage(device)
    fresh = [one for one in seen if one.age_s <= STALE_S]
    if look == usage.look or not fresh:
        return usage
    number = int(now_s // _HOUR_S)
    hours = [hour for hour in usage.hours if number - HOURS < hour.number <= number]
    if not hours or hours[-1].number != number:
        hours.append(Hour(number))
    last = hours[-1]
    minute = int(now_s % _HOUR_S // _MINUTE_S)
    hours[-1] = Hour(
        number,
        last.minutes | 1 << minute,
        _count(last.engine, [one.gr_engine_active for one in fresh]),
        _count(last.sm, [one.sm_active for one in fresh]),
        _count(last.dram, [one.dram_active for one in fresh]),
        max([last.memory_mib, *(one.fb_used_mib for one in fresh if one.fb_used_mib is not None)]),
        max([last.latency_s, *(one.latency_s for one in fresh if one.latency_s is not None)]),
    )
    return Usage(device, look, tuple(hours))


def _count(counts: Counts, shares: Sequence[float | None]) -> Counts:
    """One look more, in the step of the largest share; none where a pod's is not known."""
    known = [share for share in shares if share is not None]
    if len(known) < len(shares):
        return counts
    step = min(BINS - 1, max(0, math.ceil(max(known) * BINS) - 1))
    return (*counts[:step], counts[step] + 1, *counts[step + 1 :])
