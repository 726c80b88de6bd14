from __future__ import annotations

import datetime

import pytest

from gpufleet.api import meta, reasons
from gpufleet.decide import status as statuses
from tests import builders
from tests.builders import NOW

METADATA = builders.make_service().metadata
LATER = NOW + datetime.timedelta(minutes=5)


def build(verdict: statuses.Verdict, old=(), now=NOW) -> dict[str, meta.Condition]:
    return {one.type: one for one in statuses.build_conditions(METADATA, old, reasons.READY, verdict, now)}


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        pytest.param(statuses.Verdict(True, "R", "m"), ("True", "False", "False"), id="well"),
        pytest.param(
            statuses.Verdict(False, "R", "m", reconciling=("X", "x")),
            ("False", "True", "False"),
            id="on its way",
        ),
        pytest.param(
            statuses.Verdict(None, "R", "m", stalled=("X", "x")), ("Unknown", "False", "True"), id="stuck"
        ),
    ],
)
def test_three_conditions(verdict, expected) -> None:
    found = build(verdict)
    assert (
        tuple(found[one].status for one in (reasons.READY, reasons.RECONCILING, reasons.STALLED)) == expected
    )
    assert {one.observed_generation for one in found.values()} == {METADATA.generation}


def test_transition_times_move_with_the_status_only() -> None:
    old = list(build(statuses.Verdict(True, "R", "m")).values())
    same = build(statuses.Verdict(True, "Other", "said otherwise"), old, LATER)
    changed = build(statuses.Verdict(False, "R", "m"), old, LATER)
    assert same[reasons.READY].last_transition_time == NOW
    assert changed[reasons.READY].last_transition_time == LATER
    assert changed[reasons.STALLED].last_transition_time == NOW


@pytest.mark.parametrize(
    ("main", "before", "status", "reason"),
    [
        pytest.param(reasons.READY, None, "False", "Bad", id="a new service"),
        pytest.param(reasons.READY, "True", "True", "Because", id="a service that serves goes on serving"),
        pytest.param(reasons.READY, "False", "False", "Bad", id="a service that does not says why"),
        pytest.param(reasons.SUCCEEDED, None, "Unknown", "Bad", id="a new job has not failed"),
        pytest.param(reasons.SUCCEEDED, "Unknown", "Unknown", "Bad", id="nor has one that runs"),
        pytest.param(reasons.SUCCEEDED, "False", "False", "Because", id="a job that failed stays failed"),
        pytest.param(reasons.SUCCEEDED, "True", "True", "Because", id="a job that succeeded stays so"),
    ],
)
def test_stalled(main, before, status, reason) -> None:
    old = [builders.make_condition(main, before)] if before else []
    found = statuses.stalled(METADATA, old, main, "Bad", "spec.x is wrong: fix it", NOW)
    conditions = {one["type"]: one for one in found["conditions"]}
    assert (conditions[main]["status"], conditions[main]["reason"]) == (status, reason)
    assert (conditions["Stalled"]["status"], conditions["Stalled"]["message"]) == (
        "True",
        "spec.x is wrong: fix it",
    )


def test_events_tell_what_changed_once() -> None:
    bad = list(build(statuses.Verdict(False, reasons.MODEL_LOAD_FAILED, "m")).values())
    [event] = statuses.events_of_change([], bad)
    assert (event.type, event.reason) == ("Warning", reasons.MODEL_LOAD_FAILED)
    assert statuses.events_of_change(bad, bad) == ()
    good = list(build(statuses.Verdict(True, reasons.ALL_MODELS_READY, "m")).values())
    [event] = statuses.events_of_change(bad, good)
    assert event.type == "Normal"
