"""The search for a setting: where it starts, what it is allowed, what it says."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from gpufleet.decide.triton import tuning
from gpufleet.decide.triton.service_time import ServiceTime, Setting

LINE = ServiceTime(0.02, 0.001)
IN_TIME = tuning.Objective(0.99, 0.1)


@pytest.mark.parametrize(
    ("time", "target_s", "batch"),
    [
        pytest.param(LINE, 0.1, 16, id="two batches fit into the objective"),
        pytest.param(LINE, 1.0, 128, id="the largest that is allowed"),
        pytest.param(LINE, 0.041, 1, id="hardly one"),
        pytest.param(LINE, 0.001, 1, id="not even one"),
        pytest.param(ServiceTime(0.02, 0.0), 0.1, 128, id="items cost nothing"),
    ],
)
def test_the_guess(time: ServiceTime, target_s: float, batch: int) -> None:
    found = tuning.guess(time, tuning.Objective(0.99, target_s), tuning.Limits())
    assert found == Setting(batch)


capacities = st.dictionaries(
    st.builds(Setting, st.sampled_from([1, 2, 4, 8, 16, 32, 64, 128]), st.just(0.0), st.integers(1, 4)),
    st.floats(0, 1000),
)


@hypothesis.given(capacities, st.integers(1, 30))
def test_the_best_that_was_measured_is_chosen_within_the_trials(
    known: dict[Setting, float], trials: int
) -> None:
    asked: list[Setting] = []

    def measure(setting: Setting) -> float:
        asked.append(setting)
        return known.get(setting, 0.0)

    limits = tuning.Limits(max_batch=128, max_instances=4, trials=trials)
    found = tuning.search(LINE, IN_TIME, limits, measure)
    assert len(asked) == len(set(asked)) == found.trials <= trials
    assert all(one.max_batch <= 128 and one.instances <= 4 for one in asked)
    assert found.capacity == known.get(found.setting, 0.0)
    assert found.capacity * tuning.WORTH >= max(known.get(one, 0.0) for one in asked)


def test_equals_cost_decides() -> None:
    limits = tuning.Limits(max_batch=64, max_instances=4)
    found = tuning.search(LINE, IN_TIME, limits, lambda _: 100.0)
    assert found.setting == Setting(8), "the smaller of the two that were tried without a delay"


@pytest.mark.parametrize(
    ("time", "capacity", "says"),
    [
        pytest.param(LINE, 100.0, "up to 21.0 times", id="batches pay"),
        pytest.param(ServiceTime(0.0001, 0.01), 100.0, "compute-bound at one request", id="batches do not"),
        pytest.param(ServiceTime(0.01, 0.0), 100.0, "cost nothing", id="items cost nothing"),
        pytest.param(LINE, 0.0, "no setting answers 99% within 100 ms", id="out of reach"),
    ],
)
def test_the_reason(time: ServiceTime, capacity: float, says: str) -> None:
    found = tuning.search(time, IN_TIME, tuning.Limits(trials=3), lambda _: capacity)
    assert says in found.reason
