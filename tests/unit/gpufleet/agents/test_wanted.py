from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet.agents.model import wanted

A = wanted.WantedModel("a", '{"name": "a"}')
B = wanted.WantedModel("b")
LIST = wanted.Wanted("r1", (A, B))
MARKS = {"a": "a1", "b": "b1"}


def loaded(mark: str) -> wanted.Entry:
    return wanted.Entry(loaded=mark)


def failed(mark: str, *, serving: str = "") -> wanted.Entry:
    return wanted.Entry(loaded=serving, failed=mark, message="no weights", failures=1)


@pytest.mark.parametrize(
    ("entries", "was_ready", "expected"),
    [
        pytest.param({}, False, False, id="nothing loaded"),
        pytest.param({"a": loaded("a1")}, False, False, id="one still to be tried"),
        pytest.param({"a": loaded("a1"), "b": loaded("b1")}, False, True, id="all loaded"),
        pytest.param({"a": loaded("a1"), "b": failed("b1")}, False, True, id="a broken model harms no other"),
        pytest.param({"a": failed("a1"), "b": failed("b1")}, False, False, id="none serves"),
        pytest.param({"a": loaded("a1")}, True, True, id="a model that is being added takes nothing away"),
        pytest.param({"a": loaded("a0")}, True, True, id="the old copy serves during a reload"),
        pytest.param({}, True, False, id="a server that lost all its models"),
    ],
)
def test_readiness(entries, was_ready, expected) -> None:
    assert wanted.is_ready(LIST, entries, MARKS, was_ready=was_ready) is expected


@pytest.mark.parametrize(
    ("entry", "state", "message"),
    [
        pytest.param(None, "Loading", "", id="never tried"),
        pytest.param(loaded("a1"), "Ready", "", id="as wanted"),
        pytest.param(loaded("a0"), "Ready", "", id="an older copy serves, the new one is to come"),
        pytest.param(failed("a1"), "Failed", "no weights", id="refused"),
        pytest.param(
            failed("a1", serving="a0"), "Failed", "no weights", id="refused while the old copy serves"
        ),
        pytest.param(failed("a0"), "Loading", "", id="refused before the change"),
    ],
)
def test_report(entry, state, message) -> None:
    entries = {} if entry is None else {"a": entry}
    said = wanted.report(wanted.Wanted("r1", (A,)), entries, MARKS, {})
    assert [(one.name, one.state, one.message) for one in said] == [("a", state, message)]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        pytest.param({}, False, id="nothing tried"),
        pytest.param({"a": loaded("a1")}, False, id="one still to be tried"),
        pytest.param({"a": loaded("a0"), "b": loaded("b1")}, False, id="an older copy is not what is wanted"),
        pytest.param({"a": failed("a0"), "b": loaded("b1")}, False, id="what failed was something older"),
        pytest.param({"a": loaded("a1"), "b": failed("b1")}, True, id="each was tried as it is wanted"),
    ],
)
def test_settled(entries, expected) -> None:
    assert wanted.is_settled(LIST, entries, MARKS) is expected


@pytest.mark.parametrize(
    ("entries", "running", "busy", "expected"),
    [
        pytest.param({}, [], [], wanted.Plan((), (A, B)), id="an empty server"),
        pytest.param(
            {"a": loaded("a1"), "b": loaded("b1")}, ["a", "b"], [], wanted.Plan(), id="all as wanted"
        ),
        pytest.param(
            {"a": loaded("a0"), "b": loaded("b1")}, ["a", "b"], [], wanted.Plan((), (A,)), id="changed"
        ),
        pytest.param(
            {"a": loaded("a1")}, ["a", "b", "c"], [], wanted.Plan(("c",), (B,)), id="one nobody wants"
        ),
        pytest.param(
            {"a": failed("a1"), "b": loaded("b1")}, ["b"], [], wanted.Plan((), (A,)), id="a retry is due"
        ),
        pytest.param({}, ["c"], ["a", "c"], wanted.Plan((), (B,)), id="what is loading is let finish"),
    ],
)
def test_plan(entries, running, busy, expected) -> None:
    assert wanted.plan(LIST, entries, MARKS, running, busy, now_s=100.0) == expected


E = wanted.WantedModel("e", '{"name": "e"}', after=("a", "b"))
GRAPH = wanted.Wanted("r1", (A, B, E))
GRAPH_MARKS = {**MARKS, "e": "e1"}


@pytest.mark.parametrize(
    ("entries", "loads", "state", "settled"),
    [
        pytest.param({}, ["a", "b"], "Loading", False, id="its models come first"),
        pytest.param({"a": loaded("a1")}, ["b"], "Loading", False, id="one of them is missing"),
        pytest.param({"a": loaded("a1"), "b": loaded("b1")}, ["e"], "Loading", False, id="all are there"),
        pytest.param(
            {"a": loaded("a1"), "b": failed("b1")}, ["b"], "Failed", True, id="one of them cannot be loaded"
        ),
        pytest.param(
            {"a": loaded("a1"), "b": failed("b1", serving="b0")},
            ["b", "e"],
            "Loading",
            False,
            id="an older copy of one serves",
        ),
        pytest.param(
            {"a": loaded("a1"), "b": loaded("b1"), "e": loaded("e1")}, [], "Ready", True, id="as wanted"
        ),
    ],
)
def test_ensembles_wait_for_their_models(entries, loads, state, settled) -> None:
    plan = wanted.plan(GRAPH, entries, GRAPH_MARKS, list(entries), [], now_s=100.0)
    assert [one.name for one in plan.load] == loads
    assert [one.state for one in wanted.report(GRAPH, entries, GRAPH_MARKS, {}) if one.name == "e"] == [state]
    assert wanted.is_settled(GRAPH, entries, GRAPH_MARKS) is settled


NAMES = st.sets(st.sampled_from("abcd"))


@given(listed=NAMES, running=NAMES, busy=NAMES, known=st.dictionaries(st.sampled_from("abcd"), st.booleans()))
def test_a_plan_moves_towards_the_list_and_disturbs_nothing(listed, running, busy, known) -> None:
    goal = wanted.Wanted("r", tuple(wanted.WantedModel(name) for name in sorted(listed)))
    entries = {name: loaded("now") if good else failed("now") for name, good in known.items()}
    plan = wanted.plan(goal, entries, dict.fromkeys(listed, "now"), running, busy, now_s=0.0)
    assert set(plan.unload) == running - listed - busy
    assert {one.name for one in plan.load} == {
        name for name in listed - busy if name not in known or not known[name]
    }


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("[]", id="a list"),
        pytest.param('{"models": []}', id="no revision"),
        pytest.param('{"revision": "r", "models": [{}]}', id="a model without a name"),
        pytest.param('{"revision": "r", "models": [1]}', id="a number for a model"),
    ],
)
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        wanted.parse(text)


def test_parse() -> None:
    text = '{"revision": "r1", "models": [{"name": "a", "config": {"name": "a"}}, {"name": "b"}]}'
    assert wanted.parse(text) == LIST


def test_parse_an_ensemble() -> None:
    text = '{"revision": "r1", "models": [{"name": "e", "config": {"name": "e"}, "after": ["a", "b"]}]}'
    assert wanted.parse(text).models == (E,)


@given(st.integers(min_value=1, max_value=40))
def test_retries_wait_longer_and_longer_but_not_for_ever(failures: int) -> None:
    entry = wanted.Entry()
    waits = []
    for _ in range(failures):
        entry.note_failed("m", "no", now_s=100.0)
        waits.append(entry.retry_at_s - 100.0)
    assert waits == sorted(waits)
    assert wanted.FIRST_RETRY_S <= waits[0] <= waits[-1] <= wanted.LAST_RETRY_S
    assert not entry.is_due("m", 100.0)
    assert entry.is_due("m", entry.retry_at_s)
    assert entry.is_due("changed", 100.0), "a new configuration does not wait for the old one's backoff"


def test_new_files_are_a_reason_to_load_again() -> None:
    assert wanted.fingerprint(A, "..2026_1") != wanted.fingerprint(A, "..2026_2")
