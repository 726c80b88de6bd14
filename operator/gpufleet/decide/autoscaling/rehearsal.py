"""The margin and the window that would have served best over the load of the last hours.

Each pair is played over the minutes that were seen: whole servers are there for the highest load of the
window, as it was one cold start before, and for a share beyond it. Too few cost a violated minute, too many
their price; how many servers a minute is worth follows from the confidence, as in the newsvendor's problem
(Arrow, Harris & Marschak, "Optimal Inventory Policy", Econometrica 19, 1951).
"""

from __future__ import annotations

import dataclasses
import math

import numpy
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

MARGINS = (0.0, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6)
"""Shares of the load."""
WINDOWS = (2, 3, 5, 10)
"""Bins for which a load counts after it has gone."""
REACH = 240
"""Newest bins that are played."""
FEWEST = 20
EVERY = 5
"""Bins after which it is played again."""
_TINY = 1e-9


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """The best pair; `missed` is the share of the minutes in which it would not have carried the load."""

    margin: float = 0.1
    window: int = 5
    missed: float | None = None


DEFAULT = Choice()
"""While too little is known: a tenth more, for as long as an HPA waits."""


def choose(loads: bytes, ahead: int, confidence: float, capacity: float) -> Choice:
    """For packed loads of closed bins, a start of `ahead` bins, a confidence between 0.5 and 1, and servers
    that each carry `capacity` requests per second.
    """
    values = numpy.frombuffer(loads[-REACH * 4 :], numpy.float32).astype(numpy.float64)
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
        kept = _keep(values, window, ahead, len(came))
        for margin in MARGINS:
            servers = numpy.maximum(1.0, numpy.ceil(kept * (1 + margin) / capacity - _TINY))
            missed = float((came > servers * capacity)[is_known].mean())
            cost = float(servers[is_known].mean()) / fewest + worth * missed
            if cost < least:
                best, least = Choice(margin, window, missed), cost
    return best


def _keep(values: NDArray[numpy.float64], window: int, ahead: int, count: int) -> NDArray[numpy.float64]:
    """For each of the last `count` bins the highest load of the window that ended `ahead` bins before."""
    known = numpy.where(numpy.isfinite(values), values, 0.0)
    highest: NDArray[numpy.float64] = sliding_window_view(known, window + 1).max(axis=1)
    end = len(highest) - ahead
    return highest[end - count : end]
