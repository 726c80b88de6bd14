"""The shipped autoscaler in the simulator: bounds, room and lack of evidence, whatever the load does."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gpufleet.decide.triton.service_time import ServiceTime, Setting
from gpufleet.sim import autoscaler, batcher, loads, service

SETUP = service.Setup(
    model=batcher.Model(ServiceTime(0.05, 0.02)),
    setting=Setting(8),
    objective_s=0.5,
    queue_limit=64,
    max_replicas=6,
    fleet=6,
    start_replicas=2,
)


def run(load: loads.Load, **setup: Any) -> tuple[service.Outcome, autoscaler.Shipped]:
    made = dataclasses.replace(SETUP, **setup)
    targets = [{"signal": "RequestRate", "value": 24}]
    spec = {"autoscaling": {"minReplicas": 1, "maxReplicas": made.max_replicas, "targets": targets}}
    policy = autoscaler.Shipped(spec, made.fleet, made.start_replicas)
    return service.run(made, load, policy), policy


@pytest.mark.parametrize(
    "load",
    [
        loads.step(10, 80, 1200),
        loads.spike(10, 80, 1200),
        loads.ramp(10, 80, 1200),
        loads.sinus(10, 80, 1200, 600),
        loads.sawtooth(10, 80, 1200, 400),
        loads.slow_leak(10, 80, 1200),
    ],
    ids=lambda load: load.name,
)
@pytest.mark.parametrize("blind", [((700.0, 1200.0),), ((400.0, 2500.0),)], ids=["down a while", "down"])
def test_invariants_hold_on_every_curve(load: loads.Load, blind: tuple[tuple[float, float], ...]) -> None:
    # `run` itself raises: beyond a bound, two pods in one place, shrinking without evidence.
    found, _ = run(load, blind=blind)
    assert found.answered + found.shed > 0


def test_load_is_followed_up_and_down() -> None:
    found, policy = run(loads.step(20, 110, 2700))
    numbers = [number for _, number in found.replicas]
    # One more than the rate needs where requests were refused while servers started.
    assert 5 <= max(numbers) <= 6
    assert numbers[-1] == 1
    assert policy.status is not None
    assert policy.status.decisions[0].reason == "ScaledDown"


def test_nothing_changes_while_prometheus_is_down() -> None:
    found, policy = run(loads.step(100, 20, 1800), start_replicas=5, blind=((300.0, 9999.0),))
    assert found.changes == 0
    assert policy.status is not None
    assert policy.status.decisions[0].reason == "NoEvidence"


def test_it_does_not_ask_for_more_than_the_fleet_holds() -> None:
    found, policy = run(loads.slow_leak(40, 120, 900), fleet=3)
    assert max(number for _, number in found.replicas) == 3
    assert policy.status is not None
    assert policy.status.decisions[0].reason == "NoRoom"


def test_constant_load_with_noise_changes_at_most_once() -> None:
    load = loads.constant(84, 2400).with_noise(0.2, every_s=30)
    found, _ = run(load, start_replicas=4)
    assert found.changes <= 1
