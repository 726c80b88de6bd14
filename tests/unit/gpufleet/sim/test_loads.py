"""Load curves and the arrivals drawn from them."""

from __future__ import annotations

import gzip
import pathlib

import pytest

from gpufleet.sim import loads


@pytest.mark.parametrize(
    ("load", "seconds", "rates"),
    [
        pytest.param(loads.constant(5, 100), 100, {0: 5, 99: 5}, id="constant"),
        pytest.param(loads.step(1, 9, 90), 90, {0: 1, 29: 1, 30: 9, 59: 9, 60: 1}, id="step"),
        pytest.param(loads.spike(1, 9, 600), 600, {299: 1, 300: 9, 359: 9, 360: 1}, id="spike"),
        pytest.param(loads.ramp(0, 10, 100), 100, {0: 0, 20: 5, 40: 10, 59: 10, 80: 5}, id="ramp"),
        pytest.param(loads.on_off(1, 9, 40, 20), 40, {0: 1, 9: 1, 10: 9, 19: 9, 20: 1}, id="on/off"),
        pytest.param(loads.sinus(0, 10, 80, 40), 80, {0: 0, 10: 5, 20: 10, 40: 0}, id="sinus"),
        pytest.param(loads.sawtooth(0, 10, 40, 20), 40, {0: 0, 10: 5, 20: 0}, id="sawtooth"),
        pytest.param(loads.slow_leak(0, 10, 100), 100, {0: 0, 50: 5}, id="slow leak"),
    ],
)
def test_shapes(load: loads.Load, seconds: int, rates: dict[int, float]) -> None:
    assert load.seconds == seconds
    assert {second: load.rates[second] for second in rates} == pytest.approx(rates, abs=1e-9)


def test_arrivals_follow_the_rates() -> None:
    load = loads.step(10, 100, 300)
    came_s = load.arrivals(7, warm_up_s=60)
    assert list(came_s) == sorted(came_s)
    counts = [sum(from_s <= one < from_s + 100 for one in came_s) for from_s in (60, 160, 260)]
    assert counts == pytest.approx([1000, 10_000, 1000], rel=0.1)
    assert sum(one < 60 for one in came_s) == pytest.approx(600, rel=0.15), "the first rate stands before"
    assert came_s == load.arrivals(7, warm_up_s=60) != load.arrivals(8, warm_up_s=60)


def test_no_rate_no_requests() -> None:
    came_s = loads.on_off(0, 50, 40, 20).arrivals(1)
    assert all(one % 20 >= 10 for one in came_s)


def test_compressing_keeps_the_mean_and_scaling_the_shape() -> None:
    load = loads.ramp(0, 10, 1000).compress(100)
    assert load.seconds == 100
    assert sum(load.rates) / 100 == pytest.approx(sum(loads.ramp(0, 10, 1000).rates) / 1000)
    scaled = load.scale_to(50, over_s=10)
    assert scaled.peak == pytest.approx(50)
    assert scaled.rates[20] / scaled.peak == pytest.approx(load.rates[20] / load.peak)


def test_noise_stays_within_its_share() -> None:
    rates = loads.constant(100, 600).with_noise(0.2, every_s=30).rates
    assert min(rates) >= 80
    assert max(rates) <= 120
    assert len(set(rates)) == 20


def test_genai_sums_the_containers_of_a_moment(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "qps.csv.gz"
    rows = [
        "timestamp_anon,value,container_ip,request_type",
        "100.0,0.5,a,Generative Requests",
        "100.0,1.5,b,Generative Requests",
        "100.0,9.0,,API Requests",
        "103.0,4.0,a,Generative Requests",
        "105.0,1.0,a,Generative Requests",
    ]
    path.write_bytes(gzip.compress("\n".join(rows).encode()))
    assert loads.read_genai(path).rates == (2.0, 2.0, 2.0, 4.0, 4.0)


def test_azure_counts_arrivals(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "azure.csv"
    rows = [
        "TIMESTAMP,ContextTokens,GeneratedTokens",
        "2023-11-16 18:17:03.9799600,4808,10",
        "2023-11-16 18:17:04.9799600,1,1",
        "2023-11-16 18:17:24.0000000,1,1",
    ]
    path.write_text("\n".join(rows))
    assert loads.read_azure(path).rates == (0.2,) * 10 + (0.0,) * 10 + (0.1,) * 10
