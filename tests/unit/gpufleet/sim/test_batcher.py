"""The model of the batcher: what must hold of any queue, and its rules one by one."""

from __future__ import annotations

import random

import hypothesis
import pytest
from hypothesis import strategies as st

from gpufleet.decide.triton.service_time import ServiceTime, Setting
from gpufleet.sim import batcher

settings = st.builds(
    Setting,
    max_batch=st.integers(1, 32),
    delay_s=st.sampled_from([0.0, 0.001, 0.05]),
    instances=st.integers(1, 4),
)
models = st.builds(
    batcher.Model,
    st.builds(ServiceTime, st.floats(0.001, 0.05), st.floats(0.0, 0.01)),
    spread=st.sampled_from([0.0, 0.3]),
    contention=st.sampled_from([0.0, 1.0]),
)


@hypothesis.settings(deadline=None)
@hypothesis.given(settings, models, st.integers(1, 40))
def test_a_closed_loop_obeys_littles_law(setting: Setting, model: batcher.Model, clients: int) -> None:
    found = batcher.run_closed(setting, model, clients, requests=2000)
    assert found.throughput * found.mean_s == pytest.approx(clients, rel=0.1)
    assert 1 <= found.mean_batch <= min(setting.max_batch, clients)


@hypothesis.settings(deadline=None)
@hypothesis.given(settings, models, st.floats(1.0, 500.0))
def test_no_request_is_faster_than_its_batch(setting: Setting, model: batcher.Model, rate: float) -> None:
    found = batcher.run_open(setting, model, rate, requests=1000)
    if not model.spread:
        assert found.latencies_s[0] >= model.time.predict_s(1) * 0.999
    assert found.throughput <= setting.instances * setting.max_batch / model.time.predict_s(1) * 1.6
    again = batcher.run_open(setting, model, rate, requests=1000)
    assert found == again, "the same seed gives the same run"


LINE = batcher.Model(ServiceTime(0.01, 0.001))


@pytest.mark.parametrize(
    ("setting", "clients", "mean_batch", "throughput"),
    [
        pytest.param(Setting(1), 8, 1.0, 1 / 0.011, id="one at a time"),
        pytest.param(Setting(8), 8, 4.0, 8 / 0.028, id="the first to return goes alone"),
        pytest.param(Setting(4), 8, 4.0, 4 / 0.014, id="no more than the largest batch"),
        pytest.param(Setting(1, instances=2), 8, 1.0, 2 / 0.011, id="two instances"),
        pytest.param(Setting(4, delay_s=0.1), 2, 2.0, 2 / 0.112, id="waiting for more that never come"),
        pytest.param(
            Setting(4, delay_s=0.1, preferred=(2,)), 2, 2.0, 2 / 0.012, id="a preferred size will do"
        ),
    ],
)
def test_rules(setting: Setting, clients: int, mean_batch: float, throughput: float) -> None:
    found = batcher.run_closed(setting, LINE, clients, requests=4000)
    assert found.mean_batch == pytest.approx(mean_batch, rel=0.02)
    assert found.throughput == pytest.approx(throughput, rel=0.02)


def test_instances_that_contend_win_nothing() -> None:
    taking_turns = batcher.Model(ServiceTime(0.01, 0.0), contention=1.0)
    one = batcher.run_closed(Setting(1), taking_turns, 8, requests=4000)
    two = batcher.run_closed(Setting(1, instances=2), taking_turns, 8, requests=4000)
    assert two.throughput == pytest.approx(one.throughput, rel=0.05)


def take_all(server: batcher.Server, until_s: float = 99.0) -> list[tuple[float, int]]:
    batches = list(iter(lambda: server.take(until_s), None))
    return [(pytest.approx(one.start_s), len(one.came_s)) for one in batches]


@pytest.mark.parametrize(
    ("came_s", "limit", "batches", "shed_s"),
    [
        pytest.param([0.0, 0.001, 0.002, 0.003], 2, [(0.0, 1), (0.011, 2)], [0.003], id="full while busy"),
        pytest.param([0.0, 0.001, 0.002], 2, [(0.0, 1), (0.011, 2)], [], id="exactly full"),
        pytest.param(
            [0.0, 0.001, 0.002, 0.012], 1, [(0.0, 1), (0.011, 1), (0.022, 1)], [0.002], id="room again"
        ),
        pytest.param([0.0, 0.001, 0.002, 0.003], 0, [(0.0, 1), (0.011, 3)], [], id="no limit"),
    ],
)
def test_who_comes_to_a_full_queue_is_refused(
    came_s: list[float], limit: int, batches: list[tuple[float, int]], shed_s: list[float]
) -> None:
    server = batcher.Server(Setting(4), LINE, random.Random(1), queue_limit=limit)
    server.offer(came_s)
    assert take_all(server) == batches
    assert server.shed == shed_s


def test_requests_may_be_offered_bit_by_bit() -> None:
    came_s = [0.003 * one for one in range(200)]
    whole, parts = (batcher.Server(Setting(4), LINE, random.Random(1), queue_limit=9) for _ in range(2))
    whole.offer(came_s)
    expected = list(iter(lambda: whole.take(99.0), None))
    found: list[batcher.Batch] = []
    for second in range(1, 20):
        until_s = 0.05 * second
        parts.offer([one for one in came_s if until_s - 0.05 <= one < until_s])
        while batch := parts.take(until_s - 1e-6):
            found.append(batch)
    assert found == expected
    assert parts.shed == whole.shed
