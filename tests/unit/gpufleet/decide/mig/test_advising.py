"""Advice for all services of a pass: what is remembered, and when status is written."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gpufleet.decide.mig import advising, usage
from gpufleet.state import samples
from tests import builders
from tests.unit.gpufleet.decide.mig import test_rightsizing as sizing

BUSY = {"sm_active": 1.0, "gr_engine_active": 1.0, "dram_active": 0.1, "fb_used_mib": 5000.0}


def service(told: dict[str, Any] | None = None, profile: str = "1g.10gb") -> Any:
    given = sizing.assigned(profile).to_wire()
    status = {"assignment": {"replicas": 1, "accelerator": given}}
    return builders.make_service(status=status | ({"rightSizing": told} if told else {}))


def run(one: Any, known: usage.Usage | None = None, *, ready: bool = True, number: int = 2) -> Any:
    pod = builders.make_service_pod("p", phase="Running", ready=ready)
    look = samples.Look(number, 0.0, {(pod.namespace, pod.name): samples.PodSample(1.0, **BUSY)})
    before = {one.metadata.uid: known} if known else {}
    return advising.advise_all(builders.make_snapshot(pods=[pod], services=[one]), look, before, builders.NOW)


def device_of(one: Any) -> str:
    [device] = {found.device for found in run(one)[0].values()}
    return device


def full(one: Any, **fields: Any) -> usage.Usage:
    """A day of use on this service's device, up to now."""
    hour = int(builders.NOW.timestamp() // 3600)
    made = sizing.used(**fields)
    hours = [dataclasses.replace(it, number=hour - 23 + it.number) for it in made.hours]
    return usage.Usage(device_of(one), 1, tuple(hours))


@pytest.mark.parametrize(
    ("told", "written"),
    [
        pytest.param(None, True, id="never told"),
        pytest.param({"reason": "LargerNeeded", "profile": "1g.20gb", "message": "m"}, False, id="the same"),
        pytest.param({"reason": "RightSized", "profile": "1g.10gb", "message": "m"}, True, id="another word"),
        pytest.param(
            {"reason": "LargerNeeded", "profile": "2g.20gb", "message": "m"}, True, id="another size"
        ),
    ],
)
def test_status_is_written_when_the_advice_is_another(told: dict[str, Any] | None, written: bool) -> None:
    one = service(told)
    _, wanted = run(one, full(one, sm=1.0))
    assert [(it.advice.reason, it.advice.profile) for it in wanted] == (
        [("LargerNeeded", "1g.20gb")] if written else []
    )


def test_an_operator_that_has_just_started_takes_nothing_back() -> None:
    told = {"reason": "SmallerFits", "profile": "1g.10gb", "message": "m"}
    assert run(service(told, "3g.40gb"))[1] == ()
    [first] = run(service(profile="3g.40gb"))[1]
    assert first.advice.reason == "SeriesShort"


def test_servers_that_are_not_ready_and_looks_that_were_not_taken_teach_nothing() -> None:
    found, wanted = run(service(), ready=False)
    assert ([it.hours for it in found.values()], wanted) == ([()], ())
    assert run(service(), number=0) == ({}, ())


def test_a_service_without_accelerator_is_left_out() -> None:
    assert run(builders.make_service()) == ({}, ())


def test_a_service_that_is_gone_is_forgotten() -> None:
    one = service()
    found, _ = run(one, full(one))
    assert list(found) == [one.metadata.uid]
    empty, _ = advising.advise_all(builders.make_snapshot(), samples.Look(3, 0.0), found, builders.NOW)
    assert empty == {}
