"""The store: versions only grow, own writes overlay, deleted objects stay hidden."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet.observe import store
from tests.unit.gpufleet.observe import fakes

Raw = dict[str, Any]


def build_store(heard: list[str] | None = None) -> store.Store[Raw]:
    told = heard if heard is not None else []
    return store.Store(
        lambda raw: None if raw["metadata"].get("labels", {}).get("ignore") else raw,
        groups_of=lambda raw: raw["metadata"].get("owners", ()),
        on_change=lambda raw: told.append(raw["metadata"]["name"]),
    )


@pytest.mark.parametrize(
    ("versions", "held"),
    [
        pytest.param([1, 2], "2", id="newer is taken"),
        pytest.param([2, 1], "2", id="older is ignored"),
        pytest.param([9, 10], "10", id="numbers, not text"),
        pytest.param([7, 7], "7", id="the same again"),
    ],
)
def test_versions_only_grow(versions: list[int], held: str) -> None:
    target = build_store()
    for version in versions:
        target.put(fakes.build_raw("a", version))
    assert target.entry("team", "a").resource_version == held  # type: ignore[union-attr]


def test_put_tells_whether_anything_changed() -> None:
    heard: list[str] = []
    target = build_store(heard)
    assert target.put(fakes.build_raw("a", 1))
    assert not target.put(fakes.build_raw("a", 1))
    assert heard == ["a"]


def test_a_value_that_decodes_the_same_is_no_change() -> None:
    heard: list[str] = []
    target = store.Store(lambda raw: str(raw["metadata"]["name"]), on_change=heard.append)
    target.put(fakes.build_raw("a", 1))
    assert not target.put(fakes.build_raw("a", 2))
    assert target.entry("team", "a") == store.Entry("uid-a", "2", "a")
    assert heard == ["a"]


def test_what_is_of_no_interest_any_more_is_dropped() -> None:
    target = build_store()
    target.put(fakes.build_raw("a", 1))
    assert target.put(fakes.build_raw("a", 2, labels={"ignore": "yes"}))
    assert target.get("team", "a") is None


def test_groups_follow_the_object() -> None:
    target = build_store()
    target.put(fakes.build_raw("b", 1, owners=["x"]))
    target.put(fakes.build_raw("a", 2, owners=["x", "y"]))
    assert [raw["metadata"]["name"] for raw in target.group("x")] == ["a", "b"]
    target.put(fakes.build_raw("a", 3, owners=["y"]))
    assert [raw["metadata"]["name"] for raw in target.group("x")] == ["b"]
    target.remove("team", "a", "uid-a")
    assert target.group("y") == []


def test_remove_spares_a_successor_of_the_same_name() -> None:
    target = build_store()
    target.put(fakes.build_raw("a", 5, uid="new"))
    assert not target.remove("team", "a", "old")
    assert target.get("team", "a") is not None


@pytest.mark.parametrize(
    ("version", "is_back"),
    [
        pytest.param(4, False, id="a write from before the end"),
        pytest.param(6, False, id="the end itself"),
        pytest.param(9, True, id="it had only left the selection"),
    ],
)
def test_a_late_answer_does_not_bring_an_object_back(version: int, is_back: bool) -> None:
    held = build_store()
    held.put(fakes.build_raw("a", 3))
    held.remove("team", "a", "uid-a", "6")
    held.put_own(fakes.build_raw("a", version))
    assert (held.get("team", "a") is not None) is is_back


def test_a_list_brings_back_what_was_removed_later_than_its_version() -> None:
    held = build_store()
    held.remove("team", "a", "uid-a", "500")
    held.replace_all([fakes.build_raw("a", 300)])
    assert held.put(fakes.build_raw("a", 310, labels={"restored": "yes"}))


def test_removals_are_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "REMOVED_KEPT", 2)
    held = build_store()
    for name in ("a", "b", "c"):
        held.remove("team", name, f"uid-{name}", "6")
    assert [held.put(fakes.build_raw(name, 5)) for name in ("a", "b", "c")] == [True, False, False]


def test_a_deleted_object_is_hidden_from_late_events() -> None:
    target = build_store()
    target.put(fakes.build_raw("a", 1, owners=["x"]))
    target.remember_deleted("uid-a")
    target.put(fakes.build_raw("a", 2, owners=["x"]))
    assert (target.get("team", "a"), target.group("x"), target.sorted_keys()) == (None, [], [])


def test_a_deleted_object_that_lingers_is_shown_as_deleting() -> None:
    target = build_store()
    target.put(fakes.build_raw("a", 1))
    target.remember_deleted("uid-a")
    target.put(fakes.build_raw("a", 2, deletionTimestamp="2030-01-01T00:00:00Z"))
    assert target.get("team", "a") is not None


def test_a_list_shows_again_what_was_not_deleted_after_all() -> None:
    target = build_store()
    target.put(fakes.build_raw("a", 1))
    target.remember_deleted("uid-a")
    target.begin_relist()
    target.replace_all([fakes.build_raw("a", 1)])
    assert target.get("team", "a") is not None


def test_a_list_under_way_does_not_show_what_was_deleted_meanwhile() -> None:
    target = build_store()
    target.put(fakes.build_raw("a", 1))
    target.begin_relist()
    target.remember_deleted("uid-a")
    target.replace_all([fakes.build_raw("a", 1)])
    assert target.get("team", "a") is None


def test_a_list_drops_ghosts_and_counts() -> None:
    heard: list[str] = []
    target = build_store(heard)
    for name in ("a", "b", "c"):
        target.put(fakes.build_raw(name, 1))
    target.begin_relist()
    assert target.replace_all([fakes.build_raw("a", 1), fakes.build_raw("b", 2)]) == (1, 1)
    assert target.sorted_keys() == [("team", "a"), ("team", "b")]
    assert heard == ["a", "b", "c", "b", "c"]


def test_a_list_after_a_restored_backup_takes_versions_back() -> None:
    target = build_store()
    target.put_own(fakes.build_raw("a", 90))
    target.begin_relist()
    target.replace_all([fakes.build_raw("a", 40)])
    assert target.entry("team", "a").resource_version == "40"  # type: ignore[union-attr]


def test_a_list_under_way_does_not_undo_own_writes() -> None:
    target = build_store()
    target.put(fakes.build_raw("a", 1))
    target.begin_relist()
    target.put_own(fakes.build_raw("a", 5))
    target.put_own(fakes.build_raw("new", 6))
    target.replace_all([fakes.build_raw("a", 1)])
    assert target.entry("team", "a").resource_version == "5"  # type: ignore[union-attr]
    assert target.get("team", "new") is not None


def test_the_revision_grows_with_every_change_and_only_then() -> None:
    target = build_store()
    target.put(fakes.build_raw("a", 1))
    first = target.revision
    target.put(fakes.build_raw("a", 1))
    assert target.revision == first
    target.remove("team", "a", "uid-a")
    assert target.revision > first


Step = tuple[str, int]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 30)), max_size=40), st.randoms())
def test_any_order_of_events_ends_the_same(steps: list[Step], shuffler: Any) -> None:
    def play(order: list[Step]) -> list[tuple[store.Key, str]]:
        target = build_store()
        for name, version in order:
            target.put(fakes.build_raw(name, version))
        return [(key, target.entry(*key).resource_version) for key in target.sorted_keys()]  # type: ignore[union-attr]

    shuffled = list(steps)
    shuffler.shuffle(shuffled)
    assert play(steps) == play(shuffled)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sets(st.sampled_from("xy"))), max_size=30))
def test_groups_hold_exactly_their_members(steps: list[tuple[str, set[str]]]) -> None:
    target = build_store()
    latest: dict[str, set[str]] = {}
    for version, (name, owners) in enumerate(steps, start=1):
        target.put(fakes.build_raw(name, version, owners=sorted(owners)))
        latest[name] = owners
    assert set(target.groups()) == {owner for owners in latest.values() for owner in owners}
    for owner in "xy":
        members = {raw["metadata"]["name"] for raw in target.group(owner)}
        assert members == {name for name, owners in latest.items() if owner in owners}
