from __future__ import annotations

import datetime
import itertools
import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet.api import autoscaling
from gpufleet.decide.autoscaling import behavior, policy, record, scaler, signals, sleep
from gpufleet.state import samples
from tests.unit.gpufleet.decide.autoscaling.builders import make_look, make_pods, make_spec, waiting

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
INTERVAL_S = 15.0
DAY = scaler.Floor(4, scaler.SCHEDULED, "schedule day keeps at least 4")
LATE = ("PodsOverdue", "1 of 2 servers have not become ready within 120 s")


class Service:
    """A service under scaling, whose servers are ready at once."""

    def __init__(self, replicas: int, **spec: Any) -> None:
        self.spec = make_spec(**spec)
        self.replicas = replicas
        self.now_s = 0.0
        self.memory = behavior.Memory(since_s=0.0)
        self.least = scaler.Floor(self.spec.min_replicas, scaler.AT_MINIMUM, "minReplicas")
        self.floors: tuple[scaler.Floor, ...] = ()
        self.trouble: tuple[str, str] | None = None
        self.status: autoscaling.AutoscalingStatus | None = None

    def step(self, look: samples.Look | None = None, **fields: float) -> int:
        self.now_s += INTERVAL_S
        pods = make_pods(self.replicas)
        seen = look or make_look(pods, **fields)
        facts = policy.Facts(signals.read(pods, seen), self.replicas)
        case = scaler.Case(self.spec, facts, (self.least, *self.floors), trouble=self.trouble)
        scaling, self.memory = scaler.scale(case, self.memory, self.now_s)
        assert self.spec.min_replicas <= scaling.replicas <= self.spec.max_replicas
        now = NOW + datetime.timedelta(seconds=self.now_s)
        self.status = record.build_status(self.status, scaling, now)
        if scaling.mode == "Active" and scaling.replicas != self.replicas:
            self.memory = self.memory.note_change(scaling.replicas - self.replicas, self.now_s)
            self.replicas = scaling.replicas
        return scaling.replicas

    def reasons(self) -> list[str]:
        """Of the record, the newest first."""
        return [one.reason for one in self.status.decisions] if self.status else []


def outage() -> samples.Look:
    return samples.Look(1, 0.0, error="Prometheus did not answer in time")


def test_growth_is_recorded_with_its_inputs() -> None:
    service = Service(2)
    assert service.step(**waiting(100)) == 4
    assert service.status is not None
    [newest] = service.status.decisions
    assert (newest.before, newest.wanted, newest.replicas, newest.reason) == (2, 4, 4, scaler.SCALED_UP)
    assert newest.message == "from 2 to 4 servers: QueueWait is 100, its target 50"
    assert [(one.signal, one.value, one.type) for one in newest.inputs] == [("QueueWait", 100.0, "Ok")]


def test_an_idle_service_shrinks_to_its_minimum_after_the_window() -> None:
    service = Service(6, minReplicas=2)
    found = [service.step() for _ in range(22)]
    assert found[:18] == [6] * 18
    assert service.replicas == 2
    assert service.reasons()[0] == scaler.SCALED_DOWN


def test_an_outage_shrinks_nothing_however_long_it_lasts() -> None:
    service = Service(6)
    for _ in range(100):
        service.step(outage())
    assert service.replicas == 6
    assert service.reasons() == ["NoEvidence", scaler.AWAITING_SAMPLES]
    service.step(**waiting(50))
    assert service.reasons() == [scaler.STEADY, "NoEvidence", scaler.AWAITING_SAMPLES]


def test_the_maximum_is_a_reason() -> None:
    service = Service(10)
    service.step(**waiting(500))
    assert service.reasons() == [scaler.AT_MAXIMUM]
    assert service.status is not None
    assert service.status.decisions[0].wanted == 100


def test_advisory_computes_the_same_and_moves_nothing() -> None:
    active, advisory = Service(2), Service(2, mode="Advisory")
    assert active.step(**waiting(100)) == advisory.step(**waiting(100)) == 4
    assert (active.replicas, advisory.replicas) == (4, 2)
    assert advisory.step(**waiting(100)) == 4
    assert advisory.reasons() == active.reasons() == [scaler.SCALED_UP]


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(30, 600))
def test_what_the_budget_counts_stays_in_the_record(shrinks: list[bool], every_s: int) -> None:
    """Whatever else is decided, as long as the number shrinks nine times within an hour at most."""
    status, number = None, 100
    for turn, is_less in enumerate(shrinks):
        now = NOW + datetime.timedelta(seconds=turn * every_s)
        after = number - 1 if is_less else number + 1
        status = record.build_status(status, scaler.Scaling("Active", number, after, after), now)
        number = after
        last_hour = shrinks[: turn + 1][-math.ceil(scaler.BUDGET_S / every_s) :]
        if sum(last_hour) >= record.KEPT:
            return
        assert sum(record.counts(one, now) for one in status.decisions) == sum(last_hour)
        assert len(status.decisions) <= record.KEPT
        assert status.decisions[0].time == now


def test_the_record_changes_with_a_decision_and_not_with_a_sample() -> None:
    service = Service(4)
    service.step(**waiting(50))
    before = service.status
    for milliseconds in (48, 51, 53, 47, 50):
        service.step(**waiting(milliseconds))
    assert service.status == before


def test_ten_decisions_are_kept() -> None:
    service = Service(1, maxReplicas=1000, behavior={"scaleDown": {"stabilizationWindowSeconds": 0}})
    for milliseconds, _ in zip(itertools.cycle((100, 20)), range(40), strict=False):
        service.step(**waiting(milliseconds))
    assert service.status is not None
    assert len(service.status.decisions) == 10
    assert [one.time for one in service.status.decisions] == sorted(
        (one.time for one in service.status.decisions), reverse=True
    )


@given(st.integers(0, 10**6))
def test_constant_load_with_noise_changes_the_number_once_at_most(seed: int) -> None:
    """Two hours of a rate per server that scatters by a fifth."""
    noise = random.Random(seed)
    service = Service(5, targets=[{"signal": "RequestRate", "value": 10}])
    changes = 0
    for _ in range(480):
        before = service.replicas
        service.step(served=50.0 * noise.uniform(0.8, 1.2) / service.replicas)
        changes += service.replicas != before
    assert changes <= 1


@pytest.mark.parametrize("mode", ["Active", "Advisory"])
def test_switching_the_mode_at_forty_changes_none(mode: autoscaling.Mode) -> None:
    service = Service(40, maxReplicas=100, mode=mode)
    assert service.step(outage()) == 40


def test_a_schedule_raises_and_holds() -> None:
    service = Service(2, behavior={"scaleDown": {"stabilizationWindowSeconds": 0}})
    service.floors = (DAY,)
    assert service.step() == 4
    assert service.status is not None
    assert service.status.decisions[0].message == "from 2 to 4 servers: schedule day keeps at least 4"
    service.floors = ()
    assert service.step() == 1


def test_a_schedule_does_not_exceed_the_maximum() -> None:
    service = Service(2, maxReplicas=3)
    service.floors = (DAY,)
    assert service.step() == 3


def test_servers_that_are_late_are_told_while_the_number_stands() -> None:
    service = Service(2)
    service.trouble = LATE
    service.step(**waiting(50))
    assert service.reasons() == [LATE[0]]
    service.trouble = None
    service.step(**waiting(50))
    assert service.reasons() == [scaler.STEADY, LATE[0]]


class Sleepy(Service):
    """May have no server; `floor` is what sleeping allows."""

    def __init__(self, replicas: int) -> None:
        super().__init__(replicas, minReplicas=0)

    def rest(self, floor: int, reason: str = sleep.NOT_IDLE_YET) -> int:
        self.floors = (scaler.Floor(floor, reason, "because"),)
        self.trouble = (sleep.ASLEEP, sleep.describe_zero(30.0)) if self.replicas == 0 else None
        return self.step()


def test_the_last_server_goes_after_its_own_window_and_is_brought_back() -> None:
    service = Sleepy(3)
    found = [service.rest(1) for _ in range(25)]
    assert (found[0], found[-1]) == (3, 1)
    assert service.rest(0) == 0
    assert service.rest(0) == 0
    assert service.reasons()[:2] == [sleep.ASLEEP, scaler.SCALED_DOWN]
    assert service.status is not None
    assert "callers are refused" in service.status.decisions[0].message
    assert service.rest(1, sleep.WOKEN) == 1
    assert service.status.decisions[0].message == "from 0 to 1 servers: because"


def test_an_outage_does_not_put_to_sleep() -> None:
    service = Sleepy(1)
    service.floors = (scaler.Floor(1, sleep.NOT_IDLE_YET, "it is not known that nobody asks"),)
    for _ in range(100):
        assert service.step(outage()) == 1
