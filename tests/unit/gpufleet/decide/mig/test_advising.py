"""Advice for all services of a pass: what is remembered, and when status is written."""

from __future__ import annotations

import dataclasses
import datetime
import zlib
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


def turn_of(one: Any) -> datetime.datetime:
    """The minute within the next ones at which this service is due."""
    minutes = (builders.NOW + datetime.timedelta(minutes=n) for n in range(advising._EVERY_MINUTES))
    uid = zlib.crc32(one.metadata.uid.encode())
    return next(at for at in minutes if (at.timestamp() // 60 + uid) % advising._EVERY_MINUTES == 0)


def run(
    one: Any, known: usage.Usage | None = None, *, ready: bool = True, number: int = 2, late: int = 0
) -> Any:
    pod = builders.make_service_pod("p", phase="Running", ready=ready)
    look = samples.Look(number, 0.0, {(pod.namespace, pod.name): samples.PodSample(1.0, **BUSY)})
    before = {one.metadata.uid: known} if known else {}
    now = turn_of(one) + datetime.timedelta(minutes=late)
    return advising.advise_all(builders.make_snapshot(pods=[pod], services=[one]), look, before, now)


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


def idle(one: Any, hours: int = 3) -> usage.Usage:
    """Some hours of little use."""
    known = full(one)
    return dataclasses.replace(known, hours=known.hours[-hours:])


@pytest.mark.parametrize(
    ("told", "profile", "written"),
    [
        pytest.param(None, "7g.80gb", True, id="nothing was told"),
        pytest.param(("SmallerFits", "1g.10gb"), "7g.80gb", False, id="advice that was not followed"),
        pytest.param(("SmallerFits", "7g.80gb"), "7g.80gb", True, id="advice that was"),
        pytest.param(("RightSized", "7g.80gb"), "7g.80gb", False, id="nothing to follow"),
        pytest.param(("RightSized", "1g.10gb"), "7g.80gb", True, id="of another device"),
        pytest.param(("SeriesShort", "7g.80gb"), "7g.80gb", False, id="the same"),
        pytest.param(("SeriesMissing", ""), "7g.80gb", True, id="series that have come"),
    ],
)
def test_less_than_a_day_takes_back_what_holds_no_more(
    told: tuple[str, str] | None, profile: str, written: bool
) -> None:
    status = {"reason": told[0], "profile": told[1], "message": "m"} if told else None
    one = service(status, profile)
    _, wanted = run(one, idle(one))
    assert [it.advice.reason for it in wanted] == (["SeriesShort"] if written else [])


@pytest.mark.parametrize(
    ("late", "number", "hours"),
    [
        pytest.param(1, 2, 3, id="another's turn"),
        pytest.param(0, 1, 3, id="a look that was noted"),
        pytest.param(0, 2, 0, id="the first look"),
    ],
)
def test_advice_is_sought_seldom(late: int, number: int, hours: int) -> None:
    one = service()
    assert run(one, idle(one, hours) if hours else None, late=late, number=number)[1] == ()


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
