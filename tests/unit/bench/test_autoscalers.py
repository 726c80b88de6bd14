"""The compared autoscalers in the simulator: wired to what they read, and in their bounds."""

from __future__ import annotations

import dataclasses

import pytest

from gpufleet.sim import loads, service
from tests.bench import autoscaling

TARGETS = {"gpufleet": 95, "HPA": 120, "KPA": 5, "KEDA": 11, "Triton's chart": 100e3}
OTHERS = [name for name in autoscaling.CONTESTANTS if name != autoscaling.OURS]


def run(name: str, load: loads.Load, **fields: object) -> service.Outcome:
    setup = dataclasses.replace(autoscaling.SETUP, summaries=True, **{"start_replicas": 2, **fields})
    return service.run(setup, load, autoscaling.CONTESTANTS[name].make(TARGETS[name], setup))


@pytest.mark.parametrize("name", autoscaling.CONTESTANTS)
def test_each_follows_a_step_up_and_down(name: str) -> None:
    found = run(name, loads.step(10.0, 60.0, 2700))
    numbers = [number for _, number in found.replicas]
    assert max(numbers) >= 4
    assert numbers[-1] <= 2


@pytest.mark.parametrize("name", autoscaling.CONTESTANTS)
def test_none_uses_more_places_than_there_are(name: str) -> None:
    found = run(name, loads.constant(60.0, 600), fleet=3, max_replicas=3)
    assert found.gpu_hours <= 3 * 600 / 3600 + 1e-9


@pytest.mark.parametrize("name", OTHERS)
def test_without_prometheus_those_hold_that_need_it(name: str) -> None:
    # The KPA asks the pods themselves; of the others no metric arrives, and an HPA without metrics holds.
    found = run(name, loads.constant(60.0, 600), blind=((0.0, 9999.0),))
    assert (found.changes > 0) == (name == "KPA")
