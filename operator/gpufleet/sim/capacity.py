"""How many requests per second a setting serves within an objective, by the model of the batcher."""

from __future__ import annotations

from collections.abc import Callable

from gpufleet.decide.triton import tuning
from gpufleet.decide.triton.service_time import Setting
from gpufleet.sim import batcher

_STEPS = 9
_SUSTAINED = 0.97


def measure_with(
    model: batcher.Model, objective: tuning.Objective, *, requests: int = 6000, seed: int = 1
) -> Callable[[Setting], float]:
    """A `tuning.Measure`: the same arrivals, stretched, for every setting, so that noise does not choose."""

    def holds(setting: Setting, rate: float) -> bool:
        found = batcher.run_open(setting, model, rate, requests, seed)
        is_sustained = found.throughput >= _SUSTAINED * rate
        return is_sustained and found.quantile_s(objective.quantile) <= objective.target_s

    def measure(setting: Setting) -> float:
        alone_s = model.time.predict_s(1) + model.overhead_s
        if alone_s > objective.target_s:
            return 0.0
        high = setting.instances * setting.max_batch / model.time.predict_s(setting.max_batch)
        low = 0.0
        for _ in range(_STEPS):
            rate = (low + high) / 2
            low, high = (rate, high) if holds(setting, rate) else (low, rate)
        return low

    return measure
