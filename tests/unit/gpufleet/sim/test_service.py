"""A simulated service: what must hold of any run, and what of single events."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable

import hypothesis
import pytest
from hypothesis import strategies as st

from gpufleet.decide.triton.service_time import ServiceTime, Setting
from gpufleet.sim import batcher, loads, pods, service

SETUP = service.Setup(
    model=batcher.Model(ServiceTime(0.05, 0.02), spread=0.1),
    setting=Setting(8),
    objective_s=0.5,
    queue_limit=64,
    max_replicas=8,
    fleet=8,
    warm_up_s=60.0,
)


class Planned:
    """A policy that does as it is told, by the second."""

    interval_s = 15.0

    def __init__(self, plan: Callable[[float], int]) -> None:
        self._plan = plan
        self.seen: list[service.Observation] = []

    def decide(self, seen: service.Observation, now_s: float) -> int:
        self.seen.append(seen)
        return self._plan(now_s)


def run(load: loads.Load, plan: Callable[[float], int], **setup: object) -> service.Outcome:
    return service.run(dataclasses.replace(SETUP, **setup), load, Planned(plan))


@hypothesis.settings(deadline=None, max_examples=20)
@hypothesis.given(
    numbers=st.lists(st.integers(1, 8), min_size=1, max_size=20),
    fleet=st.integers(1, 8),
    seed=st.integers(1, 99),
    rate=st.floats(1, 100),
)
def test_no_request_is_lost_and_no_place_given_twice(
    numbers: list[int], fleet: int, seed: int, rate: float
) -> None:
    load = loads.sawtooth(1.0, rate, 300, 120)
    policy = Planned(lambda now_s: numbers[int(now_s // 15) % len(numbers)])
    setup = dataclasses.replace(SETUP, fleet=fleet, seed=seed, start_replicas=numbers[0])
    found = service.run(setup, load, policy)
    came = sum(one >= setup.warm_up_s for one in load.arrivals(seed, setup.warm_up_s))
    assert found.answered + found.shed == came
    assert all(sum(one.bound for one in seen.pods) <= fleet for seen in policy.seen)
    assert found.gpu_hours <= fleet * load.seconds / 3600 + 1e-9
    assert found == service.run(setup, load, Planned(policy._plan)), "the same seed gives the same run"


def test_one_server_is_the_model_of_the_batcher() -> None:
    load = loads.constant(25.0, 1200)
    came_s = load.arrivals(1, SETUP.warm_up_s)
    server = batcher.Server(SETUP.setting, SETUP.model, random.Random(100_003))
    server.offer(came_s)
    batches = list(iter(lambda: server.take(1e9), None))
    late = sum(end_s - one > 0.3 for _, end_s, came in batches for one in came if one >= SETUP.warm_up_s)
    found = run(load, lambda _: 1, objective_s=0.3)
    assert 0 < found.late == late


def test_a_server_serves_after_its_cold_start() -> None:
    policy = Planned(lambda now_s: 1 if now_s < 120 else 2)
    service.run(dataclasses.replace(SETUP, cold_start_spread=0.0), loads.constant(10, 240), policy)
    ready = [seen.ready for seen in policy.seen]
    assert ready[: 120 // 15 - 1] == [1] * 7
    # Asked for at 120 s, ready at 180 s: the tick of that moment sees it.
    assert [len(list(same)) for _, same in itertools.groupby(ready)] == [11, 9]


@pytest.mark.parametrize(
    ("fleet", "bound"), [pytest.param(3, 3, id="as many as fit"), pytest.param(8, 5, id="room for all")]
)
def test_pods_without_a_place_are_pending(fleet: int, bound: int) -> None:
    policy = Planned(lambda _: 5)
    service.run(dataclasses.replace(SETUP, fleet=fleet, start_replicas=5), loads.constant(10, 120), policy)
    assert (len(policy.seen[-1].pods), sum(one.bound for one in policy.seen[-1].pods)) == (5, bound)


def test_a_server_that_goes_answers_what_it_took() -> None:
    found = run(loads.constant(60, 300), lambda now_s: 3 if now_s < 200 else 2, start_replicas=3)
    assert (found.shed, found.changes) == (0, 1)


@pytest.mark.parametrize("wanted", [0, 9])
def test_no_policy_may_leave_its_bounds(wanted: int) -> None:
    with pytest.raises(AssertionError, match=str(wanted)):
        run(loads.constant(10, 60), lambda _: wanted)


def test_overload_is_refused_at_the_queue() -> None:
    found = run(loads.constant(100, 300), lambda _: 1, queue_limit=16)
    assert found.violated == found.minutes
    # A full server answers 8 in 210 ms.
    assert found.answered / 300 == pytest.approx(8 / 0.21, rel=0.05)


@pytest.mark.parametrize(
    ("answered", "late", "shed", "violated"),
    [
        pytest.param(0, 0, 0, False, id="nobody came"),
        pytest.param(100, 1, 0, False, id="1 % late"),
        pytest.param(100, 2, 0, True, id="2 % late"),
        pytest.param(50, 1, 0, True, id="one of fifty is the 99th percentile"),
        pytest.param(99, 0, 1, False, id="1 % refused"),
        pytest.param(98, 0, 2, True, id="2 % refused"),
        pytest.param(0, 0, 1, True, id="all refused"),
    ],
)
def test_when_a_minute_is_violated(answered: int, late: int, shed: int, violated: bool) -> None:
    minutes = pods.Minutes(1.0)
    if answered:
        minutes.note_batch([1.0] * late + [3.0] * (answered - late), 3.0)
    minutes.note_shed([2.0] * shed)
    assert minutes.is_violated(0) == violated


def test_a_batch_counts_in_the_minutes_in_which_its_requests_came() -> None:
    minutes = pods.Minutes(1.0)
    minutes.note_batch([59.0, 59.9, 60.0], 60.5)
    assert (minutes.answered, minutes.late) == ({0: 2, 1: 1}, {0: 1})
