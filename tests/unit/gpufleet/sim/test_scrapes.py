"""What Prometheus answers about simulated pods, by the arithmetic of PromQL."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from gpufleet.decide.triton.service_time import ServiceTime, Setting
from gpufleet.sim import batcher, pods, scrapes


@pytest.mark.parametrize(
    ("found", "from_s", "until_s", "increase"),
    [
        # prometheus/prometheus: promqltest/testdata/functions.test, http_requests.
        pytest.param(
            [(300.0 * i, 10.0 * i) for i in range(11)], 0.0, 3000.0, 100.0, id="path=/foo over 50 min"
        ),
        pytest.param([(0.0, 0.0), (300.0, 10.0)], -600.0, 300.0, 10.0, id="no more than from zero"),
        pytest.param([(15.0, 10.0), (30.0, 20.0), (45.0, 30.0)], 0.0, 60.0, 40.0, id="both ends near"),
        pytest.param(
            [(45.0, 1000.0), (55.0, 1010.0)], 0.0, 60.0, 20.0, id="half a step where the start is far"
        ),
        pytest.param([(45.0, 5.0)], 0.0, 60.0, None, id="one sample says nothing"),
        pytest.param([], 0.0, 60.0, None, id="none neither"),
    ],
)
def test_extrapolation(
    found: Sequence[tuple[float, float]], from_s: float, until_s: float, increase: float | None
) -> None:
    assert scrapes.extrapolate(found, from_s, until_s) == (
        None if increase is None else pytest.approx(increase)
    )


def make_pod(rate: float = 0.0) -> pods.ServerPod:
    """Ready at once; with so many requests per second for two minutes."""
    model = batcher.Model(ServiceTime(0.02, 0.01))
    pod = pods.ServerPod("p0", 0.0, batcher.Server(Setting(4), model, random.Random(1)), summaries=True)
    pod.bind(0.0, 0.0)
    pod.offer([one / rate for one in range(int(120 * rate))])
    return pod


def scrape(prometheus: scrapes.Prometheus, pod: pods.ServerPod, until_s: float = 120.0) -> None:
    minutes = pods.Minutes(1.0)
    for number in range(1, int(until_s / 15) + 1):
        pod.advance(15.0 * number, minutes)
        prometheus.scrape([pod], 15.0 * number)


def test_a_sample_has_what_the_operator_asks_for() -> None:
    prometheus, pod = scrapes.Prometheus(), make_pod(rate=10.0)
    scrape(prometheus, pod)
    found = prometheus.sample("p0", 125.0)
    assert found is not None
    assert found.age_s == 5.0
    assert found.served == pytest.approx(10.0, rel=0.03)
    assert (found.failed, found.shed, found.pending) == (0.0, 0.0, 0)
    # One request in 100 ms that takes 30 ms: never a queue, busy for three tenths of the time.
    assert found.queue_s == pytest.approx(0.0, abs=1e-9)
    assert found.busy == pytest.approx(0.3, rel=0.03)
    assert found.latency_s == pytest.approx(0.03)


def test_a_pod_that_nobody_asks_is_idle_and_not_absent() -> None:
    prometheus, pod = scrapes.Prometheus(), make_pod()
    scrape(prometheus, pod)
    found = prometheus.sample("p0", 125.0)
    assert found is not None
    assert (found.served, found.busy, found.latency_s) == (0.0, 0.0, None)


def test_a_new_pod_has_no_rates_yet() -> None:
    prometheus = scrapes.Prometheus()
    scrape(prometheus, make_pod(rate=10.0), until_s=15.0)
    found = prometheus.sample("p0", 16.0)
    assert found is not None
    assert (found.age_s, found.served) == (1.0, None)


def test_an_outage_has_no_samples_and_says_so() -> None:
    prometheus = scrapes.Prometheus(blind=((100.0, 200.0),))
    scrape(prometheus, make_pod(rate=10.0))
    assert prometheus.look(["p0"], 1, 99.0).pods
    blind = prometheus.look(["p0"], 2, 110.0)
    assert (blind.pods, bool(blind.error)) == ({}, True)


def test_a_pod_that_ended_is_stale() -> None:
    prometheus = scrapes.Prometheus()
    scrape(prometheus, make_pod(rate=10.0))
    prometheus.scrape([], 135.0)
    assert prometheus.sample("p0", 136.0) is None
