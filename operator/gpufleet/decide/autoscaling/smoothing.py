"""A line through the newest loads: Holt's linear method, damped where it reaches beyond them.

Equations as in Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd edition, §8.2
(https://otexts.com/fpp3/holt.html). Only what is foreseen is damped: a line that is damped at every load lags
behind a steady rise for ever, with these weights by more than the last load does.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

LONGEST = 15
"""Bins that a forecast reaches at most."""
PHI = 0.95
"""How much of the slope is left a bin later."""
REACH = tuple(itertools.accumulate(PHI**step for step in range(1, LONGEST + 1)))
"""How often the slope has been added that many bins later, from one on."""


class Weights(NamedTuple):
    """Of the newest value in the level, and of the newest rise in the slope.

    They are constants: a fit per service would cost more than it wins, and the back-test judges the result.
    """

    alpha: float
    beta: float


LOAD = Weights(0.3, 0.1)
REST = Weights(0.2, 0.05)
"""For what a season leaves, which moves slowly."""


class Line(NamedTuple):
    """Level at a bin, and slope in load per bin."""

    level: float
    slope: float = 0.0


def advance(line: Line | None, value: float | None, weights: Weights) -> Line | None:
    """One bin later. A bin without a value moves the line on as it was foreseen."""
    if line is None:
        return None if value is None else Line(value)
    if value is None:
        slope = PHI * line.slope
        return Line(line.level + slope, slope)
    expected = line.level + line.slope
    level = expected + weights.alpha * (value - expected)
    return Line(level, weights.beta * (level - line.level) + (1 - weights.beta) * line.slope)


def reach(line: Line, ahead: int) -> float:
    """The load `ahead` bins later."""
    return line.level + line.slope * REACH[ahead - 1]


def peak(line: Line, ahead: int) -> float:
    """The highest of the next `ahead` bins: the last of a rising line, the first of a falling one."""
    return reach(line, ahead if line.slope > 0 else 1)
