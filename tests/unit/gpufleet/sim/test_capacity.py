"""Requests per second within an objective, by the model of the batcher."""

from __future__ import annotations

import pytest

from gpufleet.decide.triton import tuning
from gpufleet.decide.triton.service_time import ServiceTime, Setting
from gpufleet.sim import batcher, capacity

MODEL = batcher.Model(ServiceTime(0.02, 0.002))


@pytest.mark.parametrize("batch", [1, 4, 16])
def test_capacity_is_where_the_objective_ends(batch: int) -> None:
    objective = tuning.Objective(0.99, 0.15)
    found = capacity.measure_with(MODEL, objective)(Setting(batch))
    assert 0 < found < batch / MODEL.time.predict_s(batch)
    within = batcher.run_open(Setting(batch), MODEL, found, 6000)
    assert within.quantile_s(0.99) <= 0.15
    beyond = batcher.run_open(Setting(batch), MODEL, found * 1.1, 6000)
    assert beyond.quantile_s(0.99) > 0.15 or beyond.throughput < found * 1.1 * 0.97


def test_what_one_request_cannot_keep_nothing_can() -> None:
    measure = capacity.measure_with(MODEL, tuning.Objective(0.99, 0.02))
    assert [measure(Setting(batch)) for batch in (1, 64)] == [0.0, 0.0]
