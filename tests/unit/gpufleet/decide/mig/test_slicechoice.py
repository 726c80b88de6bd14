"""Which nodes slices should be taken on first, and which labels say so."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet.decide.mig import slicechoice
from gpufleet.state import devices, names
from tests import builders

SLICE, LARGE = "1g.5gb", "3g.20gb"
RESOURCE = f"nvidia.com/mig-{SLICE}"
LABEL = "gpufleet.dev/prefer-1g.5gb"


def node(
    name: str, *boards: tuple[int, int], preferred: bool = False, model: str = "A100"
) -> slicechoice.Node:
    """A node; a board is (idle slices, held slices)."""
    found = tuple(slicechoice.Board({SLICE: idle} if idle else {}, held) for idle, held in boards)
    return slicechoice.Node(name, model, found, frozenset({SLICE} if preferred else ()))


def chosen(*nodes: slicechoice.Node, policy: slicechoice.Policy = "distributed") -> list[str]:
    return list(slicechoice.choose(nodes, policy))


@pytest.mark.parametrize(
    ("nodes", "policy", "expected"),
    [
        pytest.param([node("a", (7, 0)), node("b", (8, 1))], "distributed", ["b"], id="a GPU that is held"),
        pytest.param([node("a", (9, 1)), node("b", (8, 1))], "distributed", ["b"], id="the fuller node"),
        pytest.param([node("a", (9, 0)), node("b", (9, 0))], "distributed", ["a"], id="else the first"),
        pytest.param([node("a", (3, 1)), node("b", (6, 1)), node("c", (9, 0))], "distributed", ["a", "b"],
                     id="as many as it takes"),
        pytest.param([node("a", (4, 1)), node("b", (3, 1))], "distributed", ["a", "b"], id="all there are"),
        pytest.param([node("a", (9, 1))], "distributed", [], id="the only one"),
        pytest.param([node("a", (0, 7)), node("b", (8, 1)), node("c", (9, 1))], "distributed", ["b"],
                     id="none without idle slices"),
        pytest.param([node("a", (0, 7), preferred=True), node("b", (8, 1))], "distributed", ["a", "b"],
                     id="a full one stays"),
        pytest.param([node("a", (7, 0), (2, 5)), node("b", (9, 1))], "distributed", ["b"],
                     id="distributed: the plugin would open a GPU"),
        pytest.param([node("a", (7, 0), (1, 6)), node("b", (9, 1))], "packed", ["a"],
                     id="packed: it would not"),
        pytest.param([node("a", (8, 1)), node("b", (9, 1), preferred=True)], "distributed", ["b"],
                     id="one that is preferred stays"),
        pytest.param([node("a", (8, 1)), node("b", (9, 0), preferred=True)], "distributed", ["a"],
                     id="unless it costs more by now"),
        pytest.param([node("a", (8, 1), preferred=True), node("b", (8, 1), preferred=True),
                      node("c", (8, 1))],
                     "distributed", ["a", "b"], id="slices that are given back cost no write"),
        pytest.param([node("a", (9, 1)), node("b", (9, 1)), node("c", (9, 0), model="H100"),
                      node("d", (9, 1), model="H100")],
                     "distributed", ["a", "d"], id="each model for itself"),
    ],
)  # fmt: skip
def test_nodes(nodes: list[slicechoice.Node], policy: slicechoice.Policy, expected: list[str]) -> None:
    assert chosen(*nodes, policy=policy) == expected


boards = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=4)
fleets = st.lists(st.tuples(boards, st.booleans()), max_size=12).map(
    lambda made: [node(f"n{i:02}", *found, preferred=is_one) for i, (found, is_one) in enumerate(made)]
)
policies = st.sampled_from(["distributed", "packed"])


@given(fleets, policies)
def test_once_written_nothing_is_left_to_write(
    nodes: list[slicechoice.Node], policy: slicechoice.Policy
) -> None:
    wanted = slicechoice.choose(nodes, policy)
    after = [dataclasses.replace(one, preferred=wanted.get(one.name, frozenset())) for one in nodes]
    assert slicechoice.choose(after, policy) == wanted


@given(fleets, policies)
def test_preferred_nodes_have_few_idle_slices_together(
    nodes: list[slicechoice.Node], policy: slicechoice.Policy
) -> None:
    found = [one for one in nodes if one.name in slicechoice.choose(nodes, policy)]
    assert all(one.idle(SLICE) or SLICE in one.preferred for one in found)
    assert sum(one.idle(SLICE) for one in found) - max((one.idle(SLICE) for one in found), default=0) < (
        slicechoice.KEPT
    )


@given(fleets, policies)
def test_no_idle_gpu_is_opened_while_enough_slices_are_on_others(
    nodes: list[slicechoice.Node], policy: slicechoice.Policy
) -> None:
    cheap = [one for one in nodes if one.idle(SLICE) and not slicechoice.opens_gpu(one, SLICE, policy)]
    if sum(one.idle(SLICE) for one in cheap) >= slicechoice.KEPT:
        full = {one.name for one in nodes if not one.idle(SLICE)}
        assert set(chosen(*nodes, policy=policy)) <= full | {one.name for one in cheap}


def gpu(index: int, *held: bool, pod: str = "") -> devices.Gpu:
    """A GPU in equal slices, each held or not."""
    cut = (devices.Instance(f"MIG-{index}{n}", SLICE, n, "t/p/" if is_ else "") for n, is_ in enumerate(held))
    return devices.Gpu(index, f"GPU-{index}", "A100-40GB", True, tuple(cut), pod)


@pytest.mark.parametrize(
    ("gpus", "used", "expected"),
    [
        pytest.param(None, 1, [({SLICE: 3}, 1)], id="no agent: the whole node"),
        pytest.param([gpu(0, True, False), gpu(1, False, False)], 1, [({SLICE: 1}, 1), ({SLICE: 2}, 0)],
                     id="GPU by GPU"),
        pytest.param([gpu(0, True, False), gpu(1, False, False)], 2, [({SLICE: 2}, 2)],
                     id="a pod that the agent has not seen: the whole node"),
        pytest.param([gpu(0, False, False, pod="t/x/"), gpu(1, False, False)], 1, [({SLICE: 3}, 1)],
                     id="a GPU in doubt: the whole node"),
    ],
)  # fmt: skip
def test_boards(
    gpus: list[devices.Gpu] | None, used: int, expected: list[tuple[dict[str, int], int]]
) -> None:
    told = devices.DeviceMap("boot", tuple(gpus)) if gpus is not None else None
    pod = builders.make_pod("p", node="a", phase="Running", requests={RESOURCE: used})
    view = builders.make_snapshot([builders.make_node("a", {RESOURCE: 4}, devices=told)], [pod])
    [found] = slicechoice.read_nodes(view)
    assert [(dict(board.idle), board.held) for board in found.boards] == expected


def test_labels_are_set_and_removed_and_others_are_left() -> None:
    used = builders.make_pod("p", node="b", phase="Running", requests={RESOURCE: 1})
    stale = {LABEL: "true", "gpufleet.dev/prefer-9g.9gb": "true", "team": "x"}
    nodes = [
        dataclasses.replace(builders.make_node("a", {RESOURCE: 14}), labels=stale),
        dataclasses.replace(builders.make_node("b", {RESOURCE: 14}), labels={}),
        dataclasses.replace(builders.make_node("c", {"nvidia.com/gpu": 8}), labels={LABEL: "true"}),
        dataclasses.replace(builders.make_node("d", {RESOURCE: 14}, ready=False), labels={}),
    ]
    assert slicechoice.plan_labels(builders.make_snapshot(nodes, [used]), "distributed") == (
        slicechoice.Patch("a", {"gpufleet.dev/prefer-1g.5gb": None, "gpufleet.dev/prefer-9g.9gb": None}),
        slicechoice.Patch("b", {LABEL: "true"}),
        slicechoice.Patch("c", {LABEL: None}),
    )


def test_a_fleet_without_slices_needs_no_label() -> None:
    assert slicechoice.plan_labels(builders.make_snapshot([builders.make_node()]), "packed") == ()


@pytest.mark.parametrize(
    ("resource", "label"),
    [
        pytest.param("nvidia.com/mig-1g.10gb.me", "gpufleet.dev/prefer-1g.10gb.me", id="a slice"),
        pytest.param("nvidia.com/gpu", None, id="a GPU"),
    ],
)
def test_the_label_of_a_resource(resource: str, label: str | None) -> None:
    assert slicechoice.label_of(resource) == label
    assert label is None or label.startswith(names.PREFER_LABEL_PREFIX)
