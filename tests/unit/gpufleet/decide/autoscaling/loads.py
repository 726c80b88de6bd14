"""Loads as they come: one value a minute, from shapes with a seeded noise."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

from gpufleet.decide.autoscaling import forecast

DAY = 1440
START_S = 20_000 * 86_400.0

Shape = Callable[[int], float]


def constant(minute: int) -> float:
    return 0.1


def ramp(minute: int) -> float:
    return 10 + 0.5 * minute


def daily(minute: int) -> float:
    return 100 - 60 * math.cos(2 * math.pi * minute / DAY)


def office(minute: int) -> float:
    """Little at night; all come within 40 minutes."""
    of_day = minute % DAY
    return 20 + 180 * min(1.0, max(0.0, (of_day - 480) / 40)) * (1 - min(1.0, max(0.0, (of_day - 1080) / 60)))


def hourly_batch(minute: int) -> float:
    return 120.0 if minute % 60 < 5 else 20.0


def make(shape: Shape, minutes: int, noise: float = 0.0, seed: int = 1) -> list[float]:
    """`noise` is the standard deviation as a share of the load."""
    chance = random.Random(seed)
    return [max(0.0, shape(minute) * (1 + noise * chance.gauss(0, 1))) for minute in range(minutes)]


def note(values: Sequence[float | None], history: forecast.History | None = None) -> forecast.History:
    """Noted in the middle of every minute from midnight on."""
    history = history or forecast.History()
    for minute, value in enumerate(values):
        history = history.note(value, START_S + 60 * minute + 30)
    return history


def end_s(values: Sequence[float | None]) -> float:
    """When the last value was noted."""
    return START_S + 60 * (len(values) - 1) + 30
