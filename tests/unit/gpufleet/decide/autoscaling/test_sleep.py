from __future__ import annotations

from typing import Any

import pytest

from gpufleet.decide.autoscaling import signals, sleep
from gpufleet.state import samples
from tests.builders import make_service
from tests.unit.gpufleet.decide.autoscaling.builders import make_pods, make_spec, read

SPEC = make_spec(minReplicas=0, idleSeconds=300)
OUTAGE = signals.read(make_pods(1), samples.Look(2, 0.0, error="Prometheus answered 503"))
NOW_S = 10_000.0


def look(
    found: signals.Readings,
    current: int = 1,
    *,
    waiting: float = 0.0,
    idle_since_s: float | None = None,
    mark: str = "",
    answered: str = "",
    spec: Any = SPEC,
) -> sleep.Sleep:
    service = make_service(
        "vision", status={"autoscaling": {"mode": "Active", "replicas": 1, "woken": answered}}
    )
    noted = {"annotations": {"gpufleet.dev/wake": mark}} if mark else {}
    service = service.model_copy(update={"metadata": service.metadata.model_copy(update=noted)})
    return sleep.look(service, spec, found, current, waiting, idle_since_s, NOW_S)


@pytest.mark.parametrize(
    ("found", "fields", "floor", "reason"),
    [
        pytest.param(read(1), {}, 1, sleep.NOT_IDLE_YET, id="idle since now"),
        pytest.param(read(1), {"idle_since_s": NOW_S - 299}, 1, sleep.NOT_IDLE_YET, id="not for long enough"),
        pytest.param(read(1), {"idle_since_s": NOW_S - 300}, 0, "", id="for long enough"),
        pytest.param(
            read(1), {"idle_since_s": NOW_S + 900}, 1, sleep.NOT_IDLE_YET, id="a clock that went back"
        ),
        pytest.param(
            read(1, served=0.1), {"idle_since_s": NOW_S - 999}, 1, sleep.NOT_IDLE_YET, id="somebody asks"
        ),
        pytest.param(OUTAGE, {"idle_since_s": NOW_S - 999}, 1, sleep.NOT_IDLE_YET, id="an outage"),
        pytest.param(
            read(1),
            {"idle_since_s": NOW_S - 999, "waiting": 2.0},
            1,
            sleep.NOT_IDLE_YET,
            id="requests wait at the gateway",
        ),
        pytest.param(
            read(1),
            {"idle_since_s": NOW_S - 999, "mark": "2"},
            1,
            sleep.NOT_IDLE_YET,
            id="called while awake: the window begins anew",
        ),
        pytest.param(OUTAGE, {"current": 0}, 0, "", id="asleep"),
        pytest.param(OUTAGE, {"current": 0, "waiting": 1.0}, 1, sleep.WOKEN, id="woken by a gateway"),
        pytest.param(
            OUTAGE, {"current": 0, "mark": "2", "answered": "1"}, 1, sleep.WOKEN, id="woken by hand"
        ),
        pytest.param(
            OUTAGE, {"current": 0, "mark": "2", "answered": "2"}, 0, "", id="that has been answered"
        ),
        pytest.param(
            read(1), {"idle_since_s": 0.0, "spec": make_spec(minReplicas=1)}, 0, "", id="never to sleep"
        ),
    ],
)
def test_floor(found: signals.Readings, fields: dict[str, Any], floor: int, reason: str) -> None:
    slept = look(found, **fields)
    assert (slept.floor, slept.reason) == (floor, reason)


def test_the_window_is_carried_on_and_broken() -> None:
    assert look(read(1), idle_since_s=NOW_S - 10).idle_since_s == NOW_S - 10
    assert look(read(1)).idle_since_s == NOW_S
    assert look(read(1, served=1.0), idle_since_s=NOW_S - 10).idle_since_s is None
