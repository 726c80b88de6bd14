"""Starts are measured once per pod, and pods are awaited no longer than starts take."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet.decide.autoscaling import coldstart
from gpufleet.decide.autoscaling.coldstart import ColdStarts
from gpufleet.state import fleet
from tests.unit.gpufleet.decide.autoscaling import builders

BORN_S = 1_000_000.0
RESTARTED = (fleet.ContainerState("triton", restarts=1),)


def starting(name: str = "p", **fields: Any) -> fleet.Pod:
    return builders.make_pod(name, **{"ready": False, "created_s": BORN_S, **fields})


def ready(after_s: float, name: str = "p", **fields: Any) -> fleet.Pod:
    return builders.make_pod(name, **{"created_s": BORN_S, "ready_s": BORN_S + after_s, **fields})


def note(*passes: tuple[fleet.Pod, ...], now_s: float = BORN_S + 1e6) -> ColdStarts:
    starts = ColdStarts()
    for pods in passes:
        starts = starts.note(pods, now_s)
    return starts


def measured(*durations_s: float) -> ColdStarts:
    return ColdStarts(durations_s)


@pytest.mark.parametrize(
    ("passes", "expected"),
    [
        pytest.param([(starting(),)], (), id="not yet"),
        pytest.param([(starting(),), (ready(90),)], (90.0,), id="watched"),
        pytest.param([(starting(),), (ready(90),), (ready(90),)], (90.0,), id="once"),
        pytest.param([(starting(),), (ready(90),), (starting(),), (ready(500),)], (90.0,), id="flapping"),
        pytest.param([(starting(),), (ready(1500),)], (1500.0,), id="slow"),
        pytest.param([(starting(),), (ready(1801),)], (), id="waited for room"),
        pytest.param([(starting(),), (ready(200, containers=RESTARTED),)], (200.0,), id="crashed at first"),
        pytest.param([(ready(90),)], (90.0,), id="ready when first seen"),
        pytest.param([(ready(601),)], (), id="ready when first seen, and late"),
        pytest.param([(ready(90, containers=RESTARTED),)], (), id="ready when first seen, after a restart"),
        pytest.param([(ready(601),), (starting(),), (ready(700),)], (), id="implausible, then flapping"),
        pytest.param([(starting(),), (ready(-5),)], (), id="a node's clock is behind"),
        pytest.param([(ready(90, created_s=None),)], (), id="creation unknown"),
        pytest.param([(ready(90, ready_s=None),)], (), id="readiness unknown"),
        pytest.param(
            [(ready(30, "b"), ready(20, "c"), ready(40, "a"))], (20.0, 30.0, 40.0), id="the newest last"
        ),
        pytest.param([(ready(0),)], (0.0,), id="within a second"),
    ],
)
def test_what_is_measured(passes: list[tuple[fleet.Pod, ...]], expected: tuple[float, ...]) -> None:
    assert note(*passes).durations_s == expected


def test_a_clock_that_is_ahead_does_not_stretch_a_start() -> None:
    assert note((starting(),), (ready(500),), now_s=BORN_S + 80).durations_s == (80.0,)


def test_only_pods_that_are_there_are_remembered() -> None:
    starts = note((starting("a"), ready(10, "b")), (starting("c"),))
    assert (starts.awaited, starts.started) == ({"c"}, set())


@pytest.mark.parametrize(
    ("starts", "p90_s", "deadline_s"),
    [
        pytest.param(measured(), 60.0, 600.0, id="none"),
        pytest.param(measured(40.0), 40.0, 120.0, id="one, and fast"),
        pytest.param(measured(200.0), 200.0, 400.0, id="one, and slow"),
        pytest.param(measured(*range(10, 110, 10)), 90.0, 180.0, id="ten"),
        pytest.param(measured(*[50.0] * 18, 900.0, 900.0), 50.0, 120.0, id="one of ten may be slow"),
        pytest.param(measured(*[50.0] * 17, 900.0, 900.0, 900.0), 900.0, 1800.0, id="more may not"),
    ],
)
def test_what_is_expected(starts: ColdStarts, p90_s: float, deadline_s: float) -> None:
    assert (starts.p90_s(), starts.deadline_s()) == (p90_s, deadline_s)


def test_the_default_is_the_callers() -> None:
    assert ColdStarts().p90_s(default=180.0) == 180.0


@pytest.mark.parametrize(
    ("starts", "pod", "age_s", "expected"),
    [
        pytest.param(measured(), starting(), 600.0, "starting", id="unmeasured"),
        pytest.param(measured(), starting(), 601.0, "overdue", id="unmeasured, and late"),
        pytest.param(measured(100.0), starting(), 200.0, "starting", id="measured"),
        pytest.param(measured(100.0), starting(), 201.0, "overdue", id="measured, and late"),
        pytest.param(measured(100.0), starting(created_s=None), 9e9, "starting", id="age unknown"),
        pytest.param(measured(100.0), starting(), -50.0, "starting", id="the clock went back"),
        pytest.param(measured(100.0), ready(10), 900.0, "", id="ready"),
        pytest.param(measured(100.0), starting(deleting=True), 900.0, "", id="deleting"),
        pytest.param(measured(100.0), starting(phase="Failed"), 10.0, "", id="ended"),
    ],
)
def test_who_is_awaited(starts: ColdStarts, pod: fleet.Pod, age_s: float, expected: str) -> None:
    found, overdue = starts.split_starting((pod,), BORN_S + age_s)
    assert (found, overdue) == (
        (pod,) if expected == "starting" else (),
        (pod,) if expected == "overdue" else (),
    )


@given(
    st.lists(
        st.dictionaries(
            st.integers(0, 30),
            st.none() | st.floats(-1e4, 1e4),
            max_size=30,
        ),
        max_size=12,
    ),
    st.floats(0, 1e10),
)
def test_memory_is_bounded_and_what_it_says_is_sane(
    passes: list[dict[int, float | None]], now_s: float
) -> None:
    starts = ColdStarts()
    for states in passes:
        pods = [
            starting(str(uid)) if after_s is None else ready(after_s, str(uid))
            for uid, after_s in states.items()
        ]
        starts = starts.note(pods, now_s)
        assert len(starts.durations_s) <= coldstart.KEPT
        assert starts.awaited | starts.started == {pod.uid for pod in pods}
        assert not starts.awaited & starts.started
        assert all(0 <= one <= coldstart.LONGEST_S for one in starts.durations_s)
        assert math.isfinite(starts.p90_s())
        assert starts.deadline_s() >= coldstart.SHORTEST_S
        found, overdue = starts.split_starting(pods, now_s)
        assert len(found) + len(overdue) == sum(not pod.ready for pod in pods)
