"""Offered load so far → the load to expect while a server that is asked for now starts.

Unless something better has proved itself on this very service, that is the last value. A trend or a season is
believed only while its back-test over recent forecasts, of as many bins ahead, is better (see `backtest`).
"""

from __future__ import annotations

import dataclasses
import math
import struct
from typing import Literal

from gpufleet.decide.autoscaling import backtest, season, smoothing

Method = Literal["LastValue", "Trend", "Seasonal"]

BIN_S = 60.0
BINS = 2880
"""Bins that are remembered: two days of minutes."""
MARGIN = 0.9
"""A candidate's loss must be below this share of the last value's …"""
LEVEL_MARGIN = 0.95
"""… and it must be off by less than this share of the level alone: smoothing is neither trend nor season."""
MIN_POINTS = 30
"""Judged forecasts that a choice needs, or four times the bins ahead: forecasts that overlap err together."""
GROWTH = 2.0
"""No forecast is above this multiple of the highest load ever seen."""
_NEGLIGIBLE = 1e-3
_MOST = 1e12
_DAY_S = 86_400.0
SHORT = 480
SOON = 10
"""Bins between two looks for a period while few are known, which takes no time."""
LOOK = 60
"""Bins from one look for a period to the next."""
_GAP = struct.pack("f", math.nan)


@dataclasses.dataclass(frozen=True, slots=True)
class Forecast:
    """The highest load to expect within the horizon, in requests per second.

    `error` and `baseline_error` are mean pinball losses, in the same unit, of the method and of the last
    value over the same recent forecasts; None before one could be judged. `period_s` is that of a season.
    """

    value: float
    method: Method
    error: float | None = None
    baseline_error: float | None = None
    deviation: float | None = None
    """Standard deviation of the load over the horizon, without leaps and trend; None while unknown."""
    period_s: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class History:
    """Offered load by bins of `bin_s` seconds, at most `BINS` of them, and how forecasts of it fared."""

    bin_s: float = BIN_S
    look_at: int = 0
    """Which of every 60 bins looks for a period. It takes longest: who has many histories spreads them."""
    loads: bytes = b""
    """Means of closed bins, as `season` reads them."""
    track: backtest.Track = dataclasses.field(default_factory=backtest.Track)
    highest: float = 0.0
    last: float | None = None
    """The newest value."""
    index: int | None = None
    """Of the open bin: whole bins since the clock's epoch."""
    total: float = 0.0
    count: int = 0

    def note(self, value: float | None, now_s: float) -> History:
        """With one value more, in requests per second. None, NaN, below zero or absurd is no evidence: a gap.

        A clock that goes back by up to 15 bins is waited for. One that goes back farther takes with it what
        was noted after its new time; one that leaps ahead leaves a gap.
        """
        if not math.isfinite(now_s):
            return self
        index = math.floor(now_s / self.bin_s)
        moved = self
        if self.index is None:
            moved = dataclasses.replace(self, index=index)
        elif index > self.index:
            moved = self._close(self.index, index)
        elif index < self.index - smoothing.LONGEST:
            moved = self._go_back(self.index - index)
        elif index < self.index:
            return self
        if value is None or not 0 <= value <= _MOST:
            return moved
        highest, total = max(moved.highest, value), moved.total + value
        return dataclasses.replace(moved, last=value, highest=highest, total=total, count=moved.count + 1)

    def foresee(self) -> backtest.Track:
        """The track as if the open bin were closed."""
        if not self.count:
            return self.track
        mean = self.total / self.count
        return self.track.move(mean, _append(self.loads, mean))

    def _close(self, open_: int, index: int) -> History:
        """The open bin is done, and those up to `index` stay empty."""
        mean = self.total / self.count if self.count else None
        loads = _append(self.loads, mean)
        track = self.track.advance(mean, loads, GROWTH * self.highest)
        missed = min(index - open_ - 1, BINS)
        if missed > smoothing.LONGEST:
            loads = (loads + _GAP * missed)[-BINS * len(_GAP) :]
            track = track.restart(loads)
        else:
            for _ in range(missed):
                loads = _append(loads, None)
                track = track.move(None, loads)
        every = LOOK if len(loads) > SHORT * len(_GAP) else SOON
        if (index - self.look_at) // every > (open_ - self.look_at) // every:
            day = round(_DAY_S / self.bin_s)
            track = track.repeat(season.find_period(loads, day, track.period), loads)
        return dataclasses.replace(self, index=index, loads=loads, track=track, total=0.0, count=0)

    def _go_back(self, bins: int) -> History:
        kept = max(0, len(self.loads) - bins * len(_GAP))
        loads, index = self.loads[:kept], None if self.index is None else self.index - bins
        track = self.track.restart(loads)
        return dataclasses.replace(self, index=index, loads=loads, track=track, total=0.0, count=0)


def predict(history: History, horizon_s: float, now_s: float) -> Forecast | None:
    """The highest load of the next whole bins that cover the horizon, 1 to 15; None where none was ever seen.

    A method that foresees a fall may give less than is offered now: whoever shrinks takes the higher of both.
    """
    history = history.note(None, now_s)
    if history.last is None:
        return None
    ahead = math.ceil(min(max(1.0, horizon_s / history.bin_s), smoothing.LONGEST))
    track = history.foresee()
    trends, seasons = track.trends[ahead - 1], track.seasons[ahead - 1]
    best, bound = 1.0, GROWTH * history.highest
    baseline = trends.last / trends.weight if trends.points else None
    off = season.measure_scatter(history.loads, ahead)
    chosen = Forecast(history.last, "LastValue", baseline, baseline, off)
    candidates: list[tuple[Method, backtest.Race, backtest.Outlook | None]] = [
        ("Seasonal", seasons, track.repeat_season(ahead)),
        ("Trend", trends, track.follow_trend(ahead)),
    ]
    for method, race, found in candidates:
        if (
            found is None
            or not _is_better(race, ahead, history.highest)
            or race.candidate >= best * race.last
        ):
            continue
        best = race.candidate / race.last
        error, baseline = race.candidate / race.weight, race.last / race.weight
        period_s = track.period * history.bin_s if method == "Seasonal" else None
        chosen = Forecast(found.limit(bound).peak, method, error, baseline, off, period_s)
    return chosen


def _is_better(race: backtest.Race, ahead: int, highest: float) -> bool:
    """Whether the candidate has proved itself; where the last value is right there is nothing to win."""
    return (
        race.points >= max(MIN_POINTS, 4 * ahead)
        and race.last > _NEGLIGIBLE * highest * race.weight
        and race.candidate < MARGIN * race.last
        and race.candidate_off < LEVEL_MARGIN * race.level_off
    )


def _append(loads: bytes, mean: float | None) -> bytes:
    packed = _GAP if mean is None else struct.pack("f", mean)
    return (loads + packed)[-BINS * len(_GAP) :]
