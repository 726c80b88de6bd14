from __future__ import annotations

import datetime
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet.api import model_profile, triton_service, tuning
from gpufleet.decide.autoscaling import capacity, signals
from tests.builders import make_service
from tests.unit.gpufleet.decide.autoscaling.builders import make_look, make_pods, read

AIM = tuning.LatencyObjective(target_milliseconds=50)
OBJECTIVE = {"latency": {"percentile": "P99", "targetMilliseconds": 50}}
IN_TIME, LATE = {"latency_s": 0.02}, {"latency_s": 0.09}


def make(*models: dict[str, Any], **status: Any) -> triton_service.TritonService:
    listed = [{"backend": "python", "maxBatchSize": 8, **one} for one in models or ({"name": "m"},)]
    return make_service("vision", status=status, models=listed, objective=OBJECTIVE, accelerator=None)


def profile(name: str = "m", hardware: str = "cpu") -> model_profile.ModelProfileSpec:
    point = [{"batchSize": size, "count": 100, "meanMicroseconds": 4000 + 1000 * size} for size in (1, 8)]
    return model_profile.ModelProfileSpec.model_validate(
        {
            "service": "vision",
            "model": name,
            "hardware": hardware,
            "measuredAt": datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC),
            "points": point,
            "fit": {"alphaMicroseconds": 4000, "betaMicroseconds": 1000, "rSquared": 1, "error": 0.05},
        }
    )


class Practice:
    """Looks every 15 s at a service whose servers stay."""

    def __init__(self, servers: int = 2) -> None:
        self.servers = servers
        self.now_s = 0.0
        self.learnt = capacity.Learnt()

    def see(self, load: float, looks: int = 1, *, current: int = 0, aim: Any = AIM, **fields: float) -> None:
        """So many requests per second and server."""
        for _ in range(looks):
            self.now_s += 15.0
            found = read(self.servers, served=load, **fields)
            self.learnt = self.learnt.note(found, current or self.servers, aim, self.now_s)

    def settle(self) -> Practice:
        self.see(1.0, 10, **IN_TIME)
        return self


def test_what_held_is_learnt_once_it_lasts() -> None:
    practice = Practice().settle()
    practice.see(30.0, 2, **IN_TIME)
    assert practice.learnt.held == 1.0
    practice.see(30.0, 3, **IN_TIME)
    assert practice.learnt.held == 30.0


def test_what_missed_is_learnt_and_bounds_what_held() -> None:
    practice = Practice().settle()
    practice.see(30.0, 5, **IN_TIME)
    practice.see(28.0, 3, **LATE)
    assert practice.learnt.missed == 28.0
    assert practice.learnt.held == pytest.approx(28.0 * 0.95)
    assert practice.learnt.bound(100.0) == pytest.approx(28.0 * 0.95)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"current": 3, **LATE}, id="a server is starting"),
        pytest.param({"age_s": 300.0, **LATE}, id="stale samples"),
        pytest.param({}, id="no latency"),
        pytest.param({"aim": AIM.model_copy(update={"percentile": "P50"}), **LATE}, id="another percentile"),
    ],
)
def test_what_proves_nothing(fields: dict[str, Any]) -> None:
    practice = Practice().settle()
    practice.see(30.0, 20, **fields)
    assert practice.learnt.missed == math.inf


def test_quantiles_of_the_minute_before_prove_nothing() -> None:
    practice = Practice().settle()
    practice.servers = 4
    practice.see(15.0, 7, **LATE)
    assert practice.learnt.missed == math.inf
    practice.see(15.0, 5, **LATE)
    assert practice.learnt.missed == 15.0


def test_what_missed_is_forgotten_and_refuted() -> None:
    practice = Practice().settle()
    practice.see(30.0, 3, **LATE)
    practice.see(30.0, 3, **IN_TIME)
    assert (practice.learnt.missed, practice.learnt.held) == (math.inf, 30.0)
    practice.see(40.0, 3, **LATE)
    practice.see(10.0, 130, **IN_TIME)
    assert practice.learnt.missed == math.inf


@given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 1)), max_size=40))
def test_what_is_learnt_is_never_contradictory(looks: list[tuple[float, float]]) -> None:
    practice = Practice().settle()
    for load, latency_s in looks:
        practice.see(load, 3, latency_s=latency_s)
        assert 0 <= practice.learnt.held < practice.learnt.missed
        assert 0 <= practice.learnt.bound(50.0) <= practice.learnt.missed


def mixed(**rates: float) -> signals.Readings:
    """One server whose models are asked so often per second."""
    pods = make_pods(1)
    return signals.read(pods, make_look(pods, served=sum(rates.values()), by_model=rates))


@pytest.mark.parametrize(
    ("models", "carried", "rates", "expected"),
    [
        pytest.param(["a"], {"a": 40.0}, {"a": 10.0}, 40.0, id="one model"),
        pytest.param(["a", "b"], {"a": 40.0, "b": 10.0}, {"a": 10.0}, 40.0, id="one that is asked"),
        pytest.param(["a", "b"], {"a": 40.0, "b": 10.0}, {"a": 10.0, "b": 10.0}, 16.0, id="time is shared"),
        pytest.param(["a", "b"], {"a": 40.0}, {"a": 10.0, "b": 10.0}, None, id="one without a profile"),
        pytest.param(["a", "b"], {"a": 40.0}, {"a": 10.0}, 40.0, id="without a profile, but not asked"),
        pytest.param(["a"], {"a": 0.0}, {"a": 10.0}, None, id="none holds the objective alone"),
    ],
)
def test_profiles(
    models: list[str], carried: dict[str, float], rates: dict[str, float], expected: float | None
) -> None:
    service = make(*({"name": name} for name in models))
    found = capacity.find(service, mixed(**rates), carried, capacity.Learnt())
    if expected is None:
        assert found is None or found.source == "Learnt"
    else:
        assert found == capacity.Capacity(pytest.approx(expected), "Profile")


@pytest.mark.parametrize(
    ("instances", "load", "busy", "learnt", "expected"),
    [
        pytest.param(1, 10.0, 0.35, {}, 20.0, id="half as busy as it may be"),
        pytest.param(2, 10.0, 0.7, {}, 20.0, id="two instances"),
        pytest.param(1, 10.0, 0.35, {"missed": 15.0}, 15.0 * 0.95, id="less, by practice"),
        pytest.param(1, 10.0, 0.9, {"held": 12.0}, 12.0, id="more, by practice"),
        pytest.param(1, 10.0, 0.01, {}, None, id="too idle to tell"),
        pytest.param(1, 10.0, 0.01, {"held": 12.0}, 12.0, id="too idle to tell, but known"),
        pytest.param(1, 10.0, None, {}, None, id="not known how busy"),
    ],
)
def test_without_a_profile(
    instances: int, load: float, busy: float | None, learnt: dict[str, float], expected: float | None
) -> None:
    service = make({"name": "m", "instanceGroups": [{"kind": "CPU", "count": instances}]})
    found = capacity.find(service, read(2, served=load, busy=busy), {}, capacity.Learnt(**learnt))
    assert (found and found.per_server) == (expected and pytest.approx(expected))


@pytest.mark.parametrize(
    ("model", "status", "setting"),
    [
        pytest.param({"batching": {}}, {}, (8, 0.0, 1, ()), id="a batcher with its defaults"),
        pytest.param({}, {}, (1, 0.0, 1, ()), id="no batcher"),
        pytest.param({"batching": {"mode": "Disabled"}}, {}, (1, 0.0, 1, ()), id="a batcher that is off"),
        pytest.param(
            {"batching": {"maxQueueDelayMicroseconds": 500, "preferredBatchSizes": [4]}},
            {},
            (8, 0.0005, 1, (4,)),
            id="as its author says",
        ),
        pytest.param(
            {"batching": {"mode": "Tuned", "maxInstances": 4}},
            {"setting": {"batchSize": 4, "maxQueueDelayMicroseconds": 100, "instances": 3}},
            (4, 0.0001, 3, ()),
            id="as tuning has chosen",
        ),
    ],
)
def test_the_question_is_about_what_runs(
    model: dict[str, Any], status: dict[str, Any], setting: tuple[Any, ...]
) -> None:
    known = [{"name": "m", "state": "Ready", **({"tuning": status} if status else {})}]
    service = make({"name": "m", **model}, models=known)
    [(name, question)] = capacity.ask(service, [profile()])
    asked = question.setting
    assert (name, asked.max_batch, asked.delay_s, asked.instances, asked.preferred) == ("m", *setting)


def test_a_profile_of_other_hardware_says_nothing() -> None:
    assert list(capacity.ask(make(), [profile(hardware="1 × nvidia.com/gpu on any")])) == []
