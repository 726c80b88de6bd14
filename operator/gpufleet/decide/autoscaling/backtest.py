"""Forecasts of every bin, each judged when its time has come: a rolling-origin back-test, kept up bin by bin.

A forecast that is made for the next k bins says the highest load of them. Its loss is the pinball loss at
`QUANTILE` (Koenker & Bassett, "Regression Quantiles", Econometrica 46, 1978): servers must carry the peak.
One that is missing fails requests; one too many costs its price for a while.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from gpufleet.decide.autoscaling import season, smoothing

QUANTILE = 0.75
"""What was foreseen too low counts three times what was foreseen as much too high."""
HALF_LIFE = 120
"""Bins after which a judgement counts half."""
_KEPT = 0.5 ** (1 / HALF_LIFE)

Season = tuple[float | None, ...]


class Race(NamedTuple):
    """The last value against a candidate: decayed sums over the same forecasts.

    Two are of the loss of the highest load. Two are of how far off the load of the last bin was, by the
    candidate and by the level alone: any bias upwards comes closer to a highest load, but not to a load.
    """

    points: int = 0
    weight: float = 0.0
    last: float = 0.0
    candidate: float = 0.0
    level_off: float = 0.0
    candidate_off: float = 0.0

    def note(self, last: float, candidate: float, level_off: float, candidate_off: float) -> Race:
        """With one forecast more."""
        return Race(
            self.points + 1,
            self.weight * _KEPT + 1.0,
            self.last * _KEPT + last,
            self.candidate * _KEPT + candidate,
            self.level_off * _KEPT + level_off,
            self.candidate_off * _KEPT + candidate_off,
        )


class Outlook(NamedTuple):
    """The highest of the next bins, and the last of them."""

    peak: float
    point: float

    def limit(self, bound: float) -> Outlook:
        """Never below zero nor above `bound`."""
        return Outlook(min(max(self.peak, 0.0), bound), min(max(self.point, 0.0), bound))


class Origin(NamedTuple):
    """What was known when a bin closed: its load, a line through loads, one through what a season leaves."""

    value: float | None = None
    line: smoothing.Line | None = None
    rest: smoothing.Line | None = None


_FRESH = (Race(),) * smoothing.LONGEST


@dataclasses.dataclass(frozen=True, slots=True)
class Track:
    """The newest origins, the newest last; races by bins ahead, from one on."""

    origins: tuple[Origin, ...] = ()
    period: int = 0
    around: Season = ()
    """Season of the 15 bins up to the newest and of the 15 after it; empty without a period."""
    trends: tuple[Race, ...] = _FRESH
    seasons: tuple[Race, ...] = _FRESH

    def advance(self, value: float | None, loads: bytes, bound: float) -> Track:
        """One bin later; `loads` has it as its last. No forecast is above `bound`."""
        moved = self.move(value, loads)
        if value is None:
            return moved
        trends, seasons, highest = list(self.trends), list(self.seasons), value
        for ahead, origin in enumerate(reversed(self.origins), start=1):
            # Beyond a gap the highest load is not known.
            if origin.value is None or origin.line is None:
                break
            last, level_off = lose(origin.value, highest), abs(origin.line.level - value)
            then = moved.around[smoothing.LONGEST - ahead : smoothing.LONGEST]
            for races, found in (
                (trends, _follow(origin.line, ahead)),
                (seasons, _repeat(origin.rest, then)),
            ):
                if found is not None:
                    peak, point = found.limit(bound)
                    race = races[ahead - 1]
                    races[ahead - 1] = race.note(last, lose(peak, highest), level_off, abs(point - value))
            highest = max(highest, origin.value)
        return dataclasses.replace(moved, trends=tuple(trends), seasons=tuple(seasons))

    def move(self, value: float | None, loads: bytes) -> Track:
        """One bin later, nothing judged."""
        before = self.origins[-1] if self.origins else Origin()
        around = self.around
        if self.period:
            around = (*around[1:], season.read(loads, self.period, smoothing.LONGEST))
        now = around[smoothing.LONGEST - 1] if around else None
        left = None if value is None or now is None else value - now
        line = smoothing.advance(before.line, value, smoothing.LOAD)
        rest = smoothing.advance(before.rest, left, smoothing.REST)
        origins = (*self.origins[1 - smoothing.LONGEST :], Origin(value, line, rest))
        return dataclasses.replace(self, origins=origins, around=around)

    def restart(self, loads: bytes) -> Track:
        """After a break: what was judged stays, no line reaches over it."""
        return dataclasses.replace(self, origins=(), around=_read_around(loads, self.period))

    def repeat(self, period: int, loads: bytes) -> Track:
        """With this period; forecasts by another one are judged from now on."""
        if period == self.period:
            return self
        origins = tuple(one._replace(rest=None) for one in self.origins)
        around = _read_around(loads, period)
        return dataclasses.replace(self, origins=origins, period=period, around=around, seasons=_FRESH)

    def follow_trend(self, ahead: int) -> Outlook | None:
        """Along the line through the newest loads; None where there is none."""
        line = self.origins[-1].line if self.origins else None
        return None if line is None else _follow(line, ahead)

    def repeat_season(self, ahead: int) -> Outlook | None:
        """As earlier periods went, from where the load is now; None where they do not say."""
        rest = self.origins[-1].rest if self.origins else None
        return _repeat(rest, self.around[smoothing.LONGEST : smoothing.LONGEST + ahead])


def _follow(line: smoothing.Line, ahead: int) -> Outlook:
    return Outlook(smoothing.peak(line, ahead), smoothing.reach(line, ahead))


def _repeat(rest: smoothing.Line | None, then: Season) -> Outlook | None:
    if rest is None or not then:
        return None
    level, slope = rest
    loads = [
        level + slope * far + one for far, one in zip(smoothing.REACH, then, strict=False) if one is not None
    ]
    return Outlook(max(loads), loads[-1]) if len(loads) == len(then) else None


def _read_around(loads: bytes, period: int) -> Season:
    if not period:
        return ()
    reach = range(1 - smoothing.LONGEST, smoothing.LONGEST + 1)
    return tuple(season.read(loads, period, ahead) for ahead in reach)


def lose(foreseen: float, actual: float) -> float:
    """The pinball loss, in the unit of the loads."""
    missed = actual - foreseen
    return QUANTILE * missed if missed > 0 else (QUANTILE - 1) * missed
