from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet.decide.placement.gangs import tree as trees
from gpufleet.state import fleet

LEVELS = ("block", "rack")


def node(name: str, block: str = "b0", rack: str = "") -> fleet.Node:
    labels = {"block": block, "rack": rack or f"r-{name}"}
    return fleet.Node(name, labels={key: value for key, value in labels.items() if value != "none"})


def build(*nodes: fleet.Node) -> tuple[trees.Tree, list[str]]:
    tree = trees.Tree(LEVELS, nodes)
    return tree, tree.names


RACKS = [node("a", rack="r3"), node("b", rack="r3b"), node("c", rack="r2"), node("d", rack="r1")]
FREE = {"a": 3, "b": 3, "c": 2, "d": 1}


@pytest.mark.parametrize(
    ("workers", "ask", "expected"),
    [
        pytest.param(
            7, trees.Ask(preferred=1), {"a": 3, "b": 3, "d": 1}, id="BestFit: the last one is tight"
        ),
        pytest.param(7, trees.ANYWHERE, {"d": 1, "c": 2, "a": 3, "b": 1}, id="LeastFreeCapacity"),
        pytest.param(2, trees.Ask(preferred=1), {"c": 2}, id="one domain, the tightest"),
        pytest.param(2, trees.Ask(required=1), {"c": 2}, id="so if it must"),
        pytest.param(4, trees.Ask(required=1), None, id="no domain is large enough"),
        pytest.param(4, trees.Ask(required=0), {"a": 3, "d": 1}, id="a wider one is"),
        pytest.param(10, trees.ANYWHERE, None, id="more than there is"),
        pytest.param(9, trees.Ask(preferred=1), {"a": 3, "b": 3, "c": 2, "d": 1}, id="all there is"),
        pytest.param(
            6,
            trees.Ask(slice_level=1, slice_size=2),
            {"c": 2, "a": 2, "b": 2},
            id="whole slices, tight first",
        ),
        pytest.param(8, trees.Ask(slice_level=1, slice_size=2), None, id="room counts in whole slices"),
        pytest.param(
            4, trees.Ask(required=0, slice_level=1, slice_size=2), {"a": 2, "c": 2}, id="slices in one block"
        ),
    ],
)
def test_which_nodes(workers: int, ask: trees.Ask, expected: dict[str, int] | None) -> None:
    """The numbers of KEP-2724: domains with room for 3, 3, 2 and 1."""
    tree, names = build(*RACKS)
    assert tree.find([FREE[name] for name in names], workers, ask) == expected


def test_a_name_that_two_blocks_share_is_two_domains() -> None:
    tree, names = build(node("a", "b0", "r1"), node("b", "b1", "r1"))
    assert names == ["a", "b"]
    assert tree.find([1, 1], 2, trees.Ask(required=1)) is None


def test_a_node_without_a_label_serves_those_who_ask_for_nothing() -> None:
    tree, names = build(node("a"), node("b", rack="none"))
    assert names == ["a", "b"]
    assert tree.find([1, 4], 4, trees.Ask(preferred=1)) is None
    assert tree.find([1, 4], 5, trees.ANYWHERE) == {"a": 1, "b": 4}


ROOMS = st.lists(st.integers(0, 9), min_size=12, max_size=12)
ASKS = st.builds(
    trees.Ask,
    required=st.sampled_from([None, None, 0, 1]),
    preferred=st.sampled_from([None, 0, 1]),
    slice_level=st.sampled_from([None, 0, 1]),
    slice_size=st.sampled_from([1, 2, 3]),
).map(lambda ask: ask if ask.slice_level is not None else trees.Ask(ask.required, ask.preferred))


@given(ROOMS, ASKS, st.integers(1, 30))
def test_places_are_real_and_the_most_is_the_most(rooms: list[int], ask: trees.Ask, workers: int) -> None:
    nodes = [node(f"n{number:02}", f"b{number // 6}", f"r{number // 3}") for number in range(12)]
    tree, names = build(*nodes)
    workers = max(1, workers // ask.slice_size) * ask.slice_size
    most = tree.count_most(rooms, ask)
    found = tree.find(rooms, workers, ask)
    assert (found is not None) == (workers <= most)
    if found is None:
        return
    assert sum(found.values()) == workers
    assert all(0 < here <= rooms[names.index(name)] for name, here in found.items())
    if ask.required is not None:
        assert len({tree.domain_of(names.index(name), ask.required) for name in found}) == 1
    if ask.slice_level is not None:
        parts: Counter[object] = Counter()
        for name, here in found.items():
            parts[tree.domain_of(names.index(name), ask.slice_level)] += here
        assert all(here % ask.slice_size == 0 for here in parts.values())
