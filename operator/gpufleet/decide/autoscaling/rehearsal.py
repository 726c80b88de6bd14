"""The margin and the window that would have served best over the load of the last hours.

Each pair is played over the minutes that were seen: whole servers are there for the highest load of the
window, as it was one cold start before, and for a share or a part of a server beyond it. Too few cost a
violated minute, too many their price; how many servers a minute is worth follows from the confidence, as in
the newsvendor's problem (Arrow, Harris & Marschak, "Optimal Inventory Policy", Econometrica 19, 1951).
"""

from __future__ import annotations

import dataclasses
import math

import numpy
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from gpufleet.decide.autoscaling import smoothing

MARGINS = (0.0, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6)
"""Shares of the load …"""
SPARES = (0.25, 0.5, 0.75, 1.0)
"""… or so many servers, whatever the load: a ramp brings as much while one starts at any height, and a share
that was right at its foot is dear at its top. Bursts, which bring more, come in proportion to the load."""
WINDOWS = (2, 3, 5, 10)
"""Bins for which a load counts after it has gone."""
REACH = 240
"""Newest bins that are played."""
FEWEST = 20
EVERY = 5
"""Bins after which it is played again."""
_TINY = 1e-9
_PROVISIONS = (*((share, 0.0) for share in MARGINS), *((0.0, servers) for servers in SPARES))


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """The best pair; `missed` is the share of the minutes in which it would not have carried the load."""

    margin: float = 0.1
    spare: float = 0.0
    window: int = 5
    missed: float | None = None
    follows_trend: bool = False
    """Whether the margin is one beyond what a trend foresees, and not beyond what comes."""


DEFAULT = Choice()
"""While too little is known: a tenth more, for as long as an HPA waits."""


def choose(
    loads: bytes, ahead: int, confidence: float, capacity: float, *, follows_trend: bool = False
) -> Choice:
    """For packed loads of closed bins, a start of `ahead` bins, a confidence between 0.5 and 1, and servers
    that each carry `capacity` requests per second.

    The margin comes on top of what is expected: with `follows_trend` of what a line through the loads of
    that time foresaw, where that was more than came.
    """
    values = numpy.frombuffer(loads[-REACH * 4 :], numpy.float32).astype(numpy.float64)
    expected = _foresee(values, ahead) if follows_trend else values
    first = ahead + max(WINDOWS)
    if len(values) < first + FEWEST:
        return DEFAULT
    came = values[first:]
    is_known = numpy.isfinite(came)
    if is_known.sum() < FEWEST or capacity <= 0:
        return DEFAULT
    fewest = max(1.0, float(numpy.ceil(came[is_known] / capacity).mean()))
    worth = confidence / (1 - confidence)
    best, least = DEFAULT, math.inf
    for window in WINDOWS:
        kept = _keep(expected, window, ahead, len(came))
        for margin, spare in _PROVISIONS:
            servers = numpy.maximum(1.0, numpy.ceil(kept * (1 + margin) / capacity + spare - _TINY))
            missed = float((came > servers * capacity)[is_known].mean())
            cost = float(servers[is_known].mean()) / fewest + worth * missed
            if cost < least:
                best, least = Choice(margin, spare, window, missed, follows_trend), cost
    return best


def _foresee(values: NDArray[numpy.float64], ahead: int) -> NDArray[numpy.float64]:
    """For each bin the highest load of it and, by the line up to it, of the next `ahead`."""
    line: smoothing.Line | None = None
    found = []
    for value in values.tolist():
        line = smoothing.advance(line, None if math.isnan(value) else value, smoothing.LOAD)
        found.append(value if line is None else max(value, smoothing.peak(line, ahead)))
    return numpy.array(found)


def _keep(values: NDArray[numpy.float64], window: int, ahead: int, count: int) -> NDArray[numpy.float64]:
    """For each of the last `count` bins the highest load of the window that ended `ahead` bins before."""
    known = numpy.where(numpy.isfinite(values), values, 0.0)
    highest: NDArray[numpy.float64] = sliding_window_view(known, window + 1).max(axis=1)
    end = len(highest) - ahead
    return highest[end - count : end]
