"""Forecasts of 1,000 services with two days of history: what one pass costs. `make bench-forecast`."""

from __future__ import annotations

import dataclasses
import math
import time
import tracemalloc

from gpufleet.decide.autoscaling import forecast
from tests.bench import report

SERVICES = 1000
PASS_S = 15
PASSES = 40
HORIZON_S = 180.0
BUDGET_MS = 2000.0
"""CPU that a pass over 1,000 services may cost, all of its parts together."""


def _load(service: int, second: int) -> float:
    return (
        100
        + service % 7
        - 60 * math.cos(2 * math.pi * second / 86_400)
        + (second // 60 * 7919 + service) % 13
    )


def _remember(service: int) -> forecast.History:
    """Two days of minutes."""
    history = forecast.History()
    for minute in range(forecast.BINS):
        history = history.note(_load(service, 60 * minute), 60.0 * minute)
    return history


def main() -> None:
    tracemalloc.start()
    first = _remember(0)
    before, _ = tracemalloc.get_traced_memory()
    kept = [_remember(1)]
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # All begin with one history: filling 1,000 takes minutes and makes no difference to a pass.
    kept = [dataclasses.replace(first, look_at=number % 60) for number in range(SERVICES)]
    passes_ms, predict_s = [], 0.0
    for number in range(PASSES):
        second = 60 * forecast.BINS + PASS_S * number
        began_s = time.process_time()
        kept = [one.note(_load(index, second), second) for index, one in enumerate(kept)]
        noted_s = time.process_time()
        for one in kept:
            forecast.predict(one, HORIZON_S, second)
        ended_s = time.process_time()
        predict_s += ended_s - noted_s
        passes_ms.append(1000 * (ended_s - began_s))
    rows = [
        report.Row("a pass: mean", sum(passes_ms) / PASSES, "ms", BUDGET_MS / 10),
        report.Row("a pass: the slowest, where all bins close", max(passes_ms), "ms", BUDGET_MS / 2),
        report.Row("one forecast", 1e6 * predict_s / PASSES / SERVICES, "µs", 2000),
        report.Row("memory of one history", (after - before) / 1024, "KiB", 64),
    ]
    report.finish(f"{SERVICES} forecasts, {forecast.BINS} bins each, {HORIZON_S:.0f} s ahead", rows)


if __name__ == "__main__":
    main()
