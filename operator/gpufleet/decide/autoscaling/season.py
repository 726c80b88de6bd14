"""Loads of closed bins → the period at which they repeat, and what earlier periods say of a bin.

Loads are packed as floats of four bytes, the oldest first; NaN is a bin without evidence.
"""

from __future__ import annotations

import math
from typing import Any

import numpy
from numpy.typing import NDArray

SHORTEST = 30
"""Bins of the shortest period: twice as far as a forecast reaches."""
PERIODS = 4
"""Earlier periods that are averaged at most."""
SCATTER = 60
"""Bins whose scatter is that of now."""
FEWEST = 5
_MAD = 1.4826
"""Standard deviations in a median absolute one, of what is normally distributed."""
_LIKENESS = 0.5
_DIP = 0.3
_NEAR = 0.1


def find_period(loads: bytes, day: int, current: int) -> int:
    """Bins of the period, 0 where none can be told.

    A period is a lag that fits twice into what is known, at which the autocorrelation has a peak of 0.5 or
    more, 0.3 above the lowest before. Of peaks within 0.1 of the highest the shortest counts, for the others
    are its multiples; a period that is in use stays while it is as near. Without any, a `day` that is known
    whole is one.
    """
    values = numpy.frombuffer(loads, numpy.float32).astype(numpy.float64)
    likeness = _correlate(values)
    lows = numpy.minimum.accumulate(likeness)
    is_high = (likeness >= _LIKENESS) & (likeness - lows >= _DIP)
    is_high[1:] &= likeness[1:] >= likeness[:-1]
    is_high[:-1] &= likeness[:-1] >= likeness[1:]
    lags = [lag for lag in numpy.flatnonzero(is_high).tolist() if lag >= SHORTEST and _is_peak(likeness, lag)]
    if not lags:
        return day if SHORTEST <= day <= len(values) else 0
    enough = max(float(likeness[lag]) for lag in lags) - _NEAR
    if 0 < current < len(likeness) and likeness[current] >= enough:
        return current
    return next(lag for lag in lags if likeness[lag] >= enough)


def measure_scatter(loads: bytes, ahead: int) -> float | None:
    """Standard deviation of independent loads about a steady course; None where too few are known.

    By median absolute deviations, of the newest hour: of the steps from loads `ahead` bins before, about
    their median, and of loads from the middle between those `ahead` bins before and after. Neither counts
    leaps nor a trend, but a trend that turns shows in the first, and many leaps in the second: the smaller
    counts. Independent loads vary by a factor of two more in a step, of 1.5 from the middle.
    """
    values = numpy.frombuffer(loads[-(SCATTER + 2 * ahead) * 4 :], numpy.float32)
    steps = (values[ahead:] - values[:-ahead])[-SCATTER:]
    bends = values[ahead:-ahead] - (values[: -2 * ahead] + values[2 * ahead :]) / 2
    found = [_measure_spread(steps, 2.0), _measure_spread(bends, 1.5)]
    return min((one for one in found if one is not None), default=None)


def _measure_spread(off: NDArray[numpy.floating[Any]], factor: float) -> float | None:
    known = off[numpy.isfinite(off)]
    if len(known) < FEWEST:
        return None
    return float(numpy.median(numpy.abs(known - numpy.median(known)))) * _MAD / math.sqrt(factor)


def _is_peak(likeness: NDArray[numpy.float64], lag: int) -> bool:
    """Whether it is the highest for a tenth of itself to both sides, all of which must be known."""
    beside = max(2, lag // 10)
    around = likeness[lag - beside : lag + beside + 1]
    return len(around) > 2 * beside and bool(likeness[lag] >= around.max())


def _correlate(values: NDArray[numpy.float64]) -> NDArray[numpy.float64]:
    """Autocorrelation by lag, over the pairs that are known, of what a straight line leaves; else empty.

    By the Wiener-Khinchin theorem: the sums over pairs are the inverse transform of the power spectrum.
    """
    known = numpy.isfinite(values)
    count = int(known.sum())
    longest = len(values) // 2
    if longest <= SHORTEST or count < longest:
        return numpy.zeros(0)
    at = numpy.arange(len(values), dtype=numpy.float64)
    mean_at, mean = float(at[known].mean()), float(values[known].mean())
    spread = at[known] - mean_at
    slope = float(spread @ (values[known] - mean)) / float(spread @ spread)
    rest = numpy.where(known, values - mean - slope * (at - mean_at), 0.0)
    variance = float(rest @ rest) / count
    if variance <= 1e-9 * mean**2:
        return numpy.zeros(0)
    size = len(values) + longest
    spectra = numpy.fft.rfft(numpy.stack((rest, known.astype(numpy.float64))), size)
    sums, pairs = numpy.fft.irfft(numpy.abs(spectra) ** 2, size)[:, : longest + 1]
    likeness: NDArray[numpy.float64] = sums / numpy.maximum(pairs, 1.0) / variance
    return likeness


def read(loads: bytes, period: int, ahead: int) -> float | None:
    """The mean of earlier periods at the bin that lies `ahead` of the last; None where none is known.

    A long period is read a little to both sides as well: what repeats daily does not repeat to the minute.
    """
    view = memoryview(loads).cast("f")
    beside = period // 240
    known: list[float] = []
    for middle in range(len(view) - 1 + ahead - period, -1, -period):
        around = view[max(0, middle - beside) : middle + beside + 1].tolist()
        known.extend(one for one in around if not math.isnan(one))
        if middle <= len(view) - 1 + ahead - PERIODS * period:
            break
    return math.fsum(known) / len(known) if known else None
