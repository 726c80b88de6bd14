"""Load curves for simulations: made ones and recorded ones, as requests per second in each second.

Recorded ones are read by path and never belong to gpufleet; their sources are named where they are read.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
import functools
import gzip
import itertools
import math
import pathlib
import random
from collections import Counter
from collections.abc import Callable, Sequence


@dataclasses.dataclass(frozen=True, slots=True)
class Load:
    """`rates[t]` requests per second come in second t."""

    name: str
    rates: tuple[float, ...]

    @property
    def seconds(self) -> int:
        return len(self.rates)

    @property
    def peak(self) -> float:
        return max(self.rates)

    def arrivals(self, seed: int, warm_up_s: float = 0.0) -> Sequence[float]:
        """A Poisson process of these rates; before it the first rate for `warm_up_s`, from second 0 on."""
        return _draw_arrivals(self, seed, warm_up_s)

    def scale_to(self, peak: float, over_s: int = 1) -> Load:
        """The same shape, so that the busiest `over_s` seconds have this mean."""
        return dataclasses.replace(self, rates=_scale(self.rates, peak, over_s))

    def compress(self, seconds: int) -> Load:
        """The same curve in fewer seconds: each new second has the mean of those that fall into it."""
        size = self.seconds / seconds
        parts = (
            self.rates[int(i * size) : max(int(i * size) + 1, int((i + 1) * size))] for i in range(seconds)
        )
        return dataclasses.replace(self, rates=tuple(math.fsum(part) / len(part) for part in parts))

    def with_noise(self, share: float, seed: int = 1, every_s: int = 10) -> Load:
        """Each `every_s` seconds another factor, uniform within ±`share`."""
        rng = random.Random(seed)
        factors = [rng.uniform(1 - share, 1 + share) for _ in range(math.ceil(self.seconds / every_s))]
        rates = tuple(rate * factors[second // every_s] for second, rate in enumerate(self.rates))
        return dataclasses.replace(self, rates=rates)


@functools.lru_cache(maxsize=2)
def _draw_arrivals(load: Load, seed: int, warm_up_s: float) -> Sequence[float]:
    """Remembered, because many autoscalers see the same."""
    rng = random.Random(seed)
    draw, log = rng.random, math.log
    came_s: list[float] = []
    due = -log(1.0 - draw())
    for second, rate in enumerate(itertools.chain([load.rates[0]] * int(warm_up_s), load.rates)):
        # `due` is how much of the integral of the rate is left until the next one comes.
        passed = 0.0
        while due <= rate - passed:
            passed += due
            came_s.append(second + passed / rate)
            due = -log(1.0 - draw())
        due -= rate - passed
    return came_s


def _scale(rates: Sequence[float], peak: float, over_s: int) -> tuple[float, ...]:
    sums = [0.0, *itertools.accumulate(rates)]
    busiest = max(sums[i + over_s] - sums[i] for i in range(len(rates) - over_s + 1)) / over_s
    return tuple(rate * peak / busiest for rate in rates)


def _make(name: str, seconds: int, rate: Callable[[int], float]) -> Load:
    return Load(name, tuple(rate(second) for second in range(seconds)))


def constant(rate: float, seconds: int) -> Load:
    return _make("constant", seconds, lambda _: rate)


def step(low: float, high: float, seconds: int) -> Load:
    """Low for a third, then high, then low."""
    return _make("step", seconds, lambda s: high if seconds <= 3 * s < 2 * seconds else low)


def spike(low: float, high: float, seconds: int, lasts_s: int = 60) -> Load:
    """Low, and once in the middle high."""
    return _make("spike", seconds, lambda s: high if 0 <= s - seconds // 2 < lasts_s else low)


def ramp(low: float, high: float, seconds: int) -> Load:
    """Up for two fifths, high for one, down for two."""
    part = 0.4 * seconds
    return _make("ramp", seconds, lambda s: low + (high - low) * min(1.0, s / part, (seconds - s) / part))


def on_off(low: float, high: float, seconds: int, period_s: int = 1200) -> Load:
    """Half of each period low, half of it high."""
    return _make("on/off", seconds, lambda s: high if s % period_s >= period_s // 2 else low)


def sinus(low: float, high: float, seconds: int, period_s: int = 3600) -> Load:
    middle, reach = (low + high) / 2, (high - low) / 2
    return _make("sinus", seconds, lambda s: middle - reach * math.cos(2 * math.pi * s / period_s))


def sawtooth(low: float, high: float, seconds: int, period_s: int = 1800) -> Load:
    """Up slowly, down at once."""
    return _make("sawtooth", seconds, lambda s: low + (high - low) * (s % period_s) / period_s)


def slow_leak(low: float, high: float, seconds: int) -> Load:
    """Up so slowly that no minute differs from the one before."""
    return _make("slow leak", seconds, lambda s: low + (high - low) * s / seconds)


def read_genai(path: pathlib.Path) -> Load:
    """Alibaba's GenAI trace of 2026: requests per second, summed over the containers of a moment.

    A row per container, kind and moment (about every 57 s); of the two kinds "Generative Requests" are those
    that containers serve. A sum stands until the next moment.
    """
    sums: dict[float, float] = {}
    with gzip.open(path, "rt") as lines:
        for row in csv.DictReader(lines):
            if row["request_type"] == "Generative Requests":
                at_s = float(row["timestamp_anon"])
                sums[at_s] = sums.get(at_s, 0.0) + float(row["value"])
    moments = sorted(sums)
    rates: list[float] = []
    for at_s, next_s in itertools.pairwise(moments):
        rates += [sums[at_s]] * int(next_s - at_s)
    return Load("genai_qps", tuple(rates))


def read_azure(path: pathlib.Path, bin_s: int = 10) -> Load:
    """Azure Public Dataset 2023, arrivals of LLM inference (Splitwise, ISCA 2024): mean rate in each bin."""
    with path.open() as lines:
        came = [datetime.datetime.fromisoformat(row["TIMESTAMP"][:26]) for row in csv.DictReader(lines)]
    counts = Counter(int((one - came[0]).total_seconds()) // bin_s for one in came)
    rates = (counts[number] / bin_s for number in range(max(counts) + 1) for _ in range(bin_s))
    return Load("azure code", tuple(rates))
