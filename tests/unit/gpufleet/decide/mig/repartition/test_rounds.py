"""A look at the whole fleet: plans of pools, who may begin, and what is told of it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gpufleet.decide.mig.planning import explain
from gpufleet.decide.mig.repartition import configs, reasons, rounds
from gpufleet.state import fleet, mig, names
from tests import builders
from tests.unit.gpufleet.decide.mig.repartition import builders_mig as b

SEVEN: b.Slices = {b.ONE: 7}
THREE = "nvidia.com/mig-3g.40gb"
POOL = {"nodeSelector": {"gpufleet.dev/pool": "h100"}}
ACTIVE = {"mode": "Dynamic", "act": "Active"}
SETTINGS = rounds.Settings(b.make_context().limits)


def make_pool(name: str = "h100", **policy: Any) -> Any:
    return builders.make_pool(name, **POOL, mig={**ACTIVE, **policy})


def waits(name: str = "w", resource: str = THREE, count: int = 1) -> fleet.Pod:
    return builders.make_pod(name, requests={resource: count}, unschedulable_message="0/1 nodes")


def look(
    nodes: list[fleet.Node], pods: list[fleet.Pod], *pools: Any, file: str | None = None
) -> rounds.Round:
    view = builders.make_snapshot(nodes, pods, pools=pools or (make_pool(),))
    return rounds.decide(view, file, b.NOW, SETTINGS)


def kinds(found: rounds.Round) -> dict[str, str]:
    return {one.node: one.step.kind for one in found.orders}


def told(found: rounds.Round) -> dict[str, str]:
    return {one.node: one.reason for one in found.nodes}


def test_the_gpu_that_nobody_holds_is_cut() -> None:
    node = b.make_node(SEVEN, SEVEN, holders={(0, 0): "default/old/uid-old"})
    found = look([node], [waits(), b.make_holder("old")])
    [order] = found.orders
    assert order.step.kind == "Begin"
    change = mig.Change.from_text(order.step.patch.annotations[names.MIG_CHANGE_ANNOTATION] or "")
    assert change.to.by_index[0] == mig.counts_of(SEVEN)
    assert change.to.by_index[1] == ((b.THREE, 2),)
    [pool] = found.pools
    assert pool.status.plan is not None
    assert (pool.status.plan.reason, pool.status.plan.gpus) == (explain.REPARTITION, 1)
    assert [(one.profile, one.total, one.used, one.free) for one in pool.status.profiles] == [
        (b.ONE, 14, 1, 13)
    ]


@pytest.mark.parametrize(
    ("nodes", "pods", "policy", "expected"),
    [
        pytest.param([b.make_node(SEVEN)], [], {}, {}, id="nothing waits"),
        pytest.param([b.make_node(SEVEN)], [waits(resource=b.SLICE)], {}, {}, id="a free slice is enough"),
        pytest.param([b.make_node(SEVEN)], [waits()], {"act": "Advisory"}, {}, id="advice only"),
        pytest.param(
            [b.make_node(SEVEN)], [waits()], {"allowedProfiles": [b.ONE]}, {}, id="not an allowed profile"
        ),
        pytest.param(
            [b.make_node(SEVEN, unschedulable=True)], [waits()], {}, {}, id="people have cordoned it"
        ),
        pytest.param([b.make_node(None)], [waits()], {}, {"node-a": "Begin"}, id="MIG is turned on"),
        pytest.param(
            [b.make_node(None)], [waits()], {"reservedWholeGPUs": 1}, {}, id="a GPU that stays whole"
        ),
        pytest.param(
            [b.make_node(None)],
            [waits(), waits("g", builders.GPU)],
            {},
            {},
            id="somebody waits for the whole GPU",
        ),
        pytest.param(
            [b.make_node(SEVEN)],
            [],
            {"minimums": [{"profile": b.THREE, "count": 1}]},
            {"node-a": "Begin"},
            id="the least that there has to be",
        ),
        pytest.param(
            [b.make_node({b.THREE: 2})],
            [],
            {"minimums": [{"profile": b.THREE, "count": 2}]},
            {},
            id="which there is",
        ),
        pytest.param(
            [b.make_node(SEVEN, holders={(0, 0): "default/old/uid-old"})],
            [waits(), b.make_holder("old", evictable=True)],
            {},
            {},
            id="a busy GPU waits",
        ),
        pytest.param(
            [b.make_node(SEVEN, name="a"), b.make_node(SEVEN, name="b")],
            [waits(count=4)],
            {},
            {"a": "Begin"},
            id="one at a time",
        ),
        pytest.param(
            [b.make_node(SEVEN, name="a"), b.make_node(SEVEN, name="b")],
            [waits(count=4)],
            {"maxNodesInFlight": 2},
            {"a": "Begin", "b": "Begin"},
            id="two at a time",
        ),
        pytest.param(
            [b.make_node({}, {}, name="a", product="NVIDIA-A100-SXM4-80GB", holders={})],
            [waits()],
            {"windows": [{"name": "night", "start": "0 2 * * *", "durationSeconds": 3600}]},
            {},
            id="outside the window",
        ),
        pytest.param(
            [b.make_node(SEVEN)],
            [waits()],
            {"windows": [{"name": "noon", "start": "0 12 * * *", "durationSeconds": 3600}]},
            {"node-a": "Begin"},
            id="within the window",
        ),
        pytest.param(
            [b.make_node({b.THREE: 2}, None, name="a"), b.make_node(SEVEN, None, name="b")],
            [],
            {"mode": "Static", "layout": [{"profile": b.THREE, "count": 2}], "reservedWholeGPUs": 1},
            {"b": "Begin"},
            id="one layout on all but the whole",
        ),
        pytest.param(
            [b.make_node(SEVEN)],
            [],
            {"mode": "Static", "layout": [{"profile": "1g.10gb+me", "count": 2}]},
            {},
            id="two media extensions",
        ),
        pytest.param(
            [b.make_node(SEVEN)],
            [],
            {"mode": "Static", "layout": [{"profile": "5g.1gb", "count": 1}]},
            {},
            id="no profile",
        ),
        pytest.param(
            [b.make_node(SEVEN)],
            [],
            {"mode": "Static", "layout": [{"profile": b.ONE, "count": 9}]},
            {},
            id="too many",
        ),
    ],
)
def test_who_begins(
    nodes: list[fleet.Node], pods: list[fleet.Pod], policy: dict[str, Any], expected: dict[str, str]
) -> None:
    assert kinds(look(nodes, pods, make_pool(**policy))) == expected


HALVES = [{"profile": b.THREE, "count": 2}]


@pytest.mark.parametrize(
    ("gpus", "holders", "policy", "whole"),
    [
        pytest.param([None, None], {}, {"reservedWholeGPUs": 1}, [0], id="one of two"),
        pytest.param([None, None, None], {}, {"reservedWholeGPUs": 2}, [0, 1], id="two of three"),
        pytest.param([None, SEVEN], {}, {"reservedWholeGPUs": 1}, [0], id="the only whole one"),
        pytest.param(
            [None, None],
            {(0, -1): b.holder_text("all")},
            {"reservedWholeGPUs": 1},
            [0],
            id="one that is held",
        ),
        pytest.param(
            [None, None, None],
            {},
            {"reservedWholeGPUs": 1, "minimums": [{"profile": b.THREE, "count": 6}]},
            [0],
            id="though more slices are to be",
        ),
        pytest.param(
            [SEVEN, SEVEN, None],
            {},
            {"mode": "Static", "layout": HALVES, "reservedWholeGPUs": 2},
            [0, 2],
            id="static: one is made whole",
        ),
        pytest.param([None, None], {}, {}, [], id="none is reserved"),
    ],
)
def test_reserved_gpus_stay_whole(
    gpus: list[b.Slices], holders: dict[tuple[int, int], str], policy: dict[str, Any], whole: list[int]
) -> None:
    node = b.make_node(*gpus, holders=holders)
    held = [b.make_holder("all", resource=builders.GPU)] if holders else []
    found = look([node], [waits(count=9), *held], make_pool(**policy))
    [order] = found.orders
    change = mig.Change.from_text(order.step.patch.annotations[names.MIG_CHANGE_ANNOTATION] or "")
    assert [index for index, slices in change.to.gpus if slices is None] == whole


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        pytest.param({"act": "Advisory"}, reasons.ADVISORY, id="advice"),
        pytest.param(
            {"windows": [{"name": "night", "start": "0 2 * * *", "durationSeconds": 3600}]},
            reasons.WINDOW_CLOSED,
            id="no window",
        ),
    ],
)
def test_what_keeps_a_node_from_beginning_is_told(policy: dict[str, Any], reason: str) -> None:
    found = look([b.make_node(SEVEN)], [waits()], make_pool(**policy))
    assert told(found) == {"node-a": reason}
    assert [(one.reason, one.nodes) for one in found.pools[0].status.kept_out] == [(reason, 1)]


SPENT = {names.MIG_CUTS_ANNOTATION: mig.Cuts((mig.Cut(b.at(-60.0), 2),)).to_text()}


@pytest.mark.parametrize(
    ("budget_gpus", "nodes", "pods", "expected"),
    [
        pytest.param(0.0, [{}, {}], 4, {"a": "Begin", "b": "Begin"}, id="no limit"),
        pytest.param(2.0, [{}, {}], 4, {"a": "Begin", "b": "Begin"}, id="enough for both"),
        pytest.param(1.0, [{}, {}], 4, {"a": "Begin"}, id="enough for one"),
        pytest.param(0.5, [{}, {}], 4, {}, id="too little for any"),
        pytest.param(3.0, [{}, {"annotations": SPENT}], 4, {"a": "Begin"}, id="a change of this hour counts"),
        pytest.param(
            1.0,
            [{"unschedulable": True}, {}],
            4,
            {"b": "Begin"},
            id="a node that cannot begin takes nothing",
        ),
    ],
)
def test_changes_keep_to_the_disruption_budget(
    budget_gpus: float, nodes: list[dict[str, Any]], pods: int, expected: dict[str, str]
) -> None:
    made = [b.make_node(SEVEN, name=name, **fields) for name, fields in zip("ab", nodes, strict=True)]
    view = builders.make_snapshot(made, [waits(count=pods)], pools=[make_pool(maxNodesInFlight=2)])
    options = dataclasses.replace(SETTINGS, disruption_gpus_per_hour=budget_gpus)
    found = rounds.decide(view, None, b.NOW, options)
    assert kinds(found) == expected
    assert [one.gpus for one in found.orders] == [1] * len(expected)
    held = [one for one in found.nodes if one.reason == reasons.DISRUPTION_BUDGET]
    assert all("repartition" in one.message for one in held)
    assert ("raise" in held[0].message) == (budget_gpus < 1) if held else True


@pytest.mark.parametrize(
    "policy",
    [
        pytest.param({}, id="planned"),
        pytest.param({"mode": "Static", "layout": [{"profile": b.THREE, "count": 2}]}, id="one layout"),
    ],
)
def test_nodes_whose_slices_a_driver_makes_are_left_alone(policy: dict[str, Any]) -> None:
    nodes = [
        b.make_node(SEVEN, name="a", claimable=frozenset({b.ONE, b.THREE})),
        b.make_node(SEVEN, name="b"),
    ]
    found = look(nodes, [waits(count=4)], make_pool(maxNodesInFlight=2, **policy))
    assert kinds(found) == {"b": "Begin"}
    assert told(found)["a"] == reasons.SLICES_BY_CLAIM
    [kept] = found.pools[0].status.kept_out
    assert (kept.reason, kept.nodes, kept.example) == (reasons.SLICES_BY_CLAIM, 1, "a")


def test_advice_takes_nothing_of_the_budget() -> None:
    advised = builders.make_pool("a-advised", nodeSelector={"pool": "x"}, mig={"mode": "Dynamic"})
    nodes = [
        b.make_node(SEVEN, name="a", labels={"gpufleet.dev/pool": "none", "pool": "x"}),
        b.make_node(SEVEN, name="b"),
    ]
    view = builders.make_snapshot(nodes, [waits(count=4)], pools=[advised, make_pool()])
    options = dataclasses.replace(SETTINGS, disruption_gpus_per_hour=1.0)
    assert kinds(rounds.decide(view, None, b.NOW, options)) == {"b": "Begin"}


@pytest.mark.parametrize(
    "profile", [pytest.param("1g.10gb+me", id="two extensions"), pytest.param("5g.1gb", id="unknown")]
)
def test_a_static_layout_that_cannot_be_is_told(profile: str) -> None:
    found = look(
        [b.make_node(SEVEN)], [], make_pool(mode="Static", layout=[{"profile": profile, "count": 2}])
    )
    plan = found.pools[0].status.plan
    assert plan is not None
    assert plan.reason == reasons.LAYOUT_IMPOSSIBLE
    assert profile in plan.message or "1g.10gb+me" in plan.message


def flying(phase: mig.Phase = "Applying", name: str = "a") -> fleet.Node:
    change = dataclasses.replace(b.make_change([SEVEN], [{b.THREE: 2}]), phase=phase)
    return b.make_node(SEVEN, name=name, change=change, label=change.label, state="pending")


def test_slices_about_to_be_made_serve_what_waits() -> None:
    found = look([flying(), b.make_node(SEVEN, name="b")], [waits()], make_pool(maxNodesInFlight=5))
    assert kinds(found) == {}
    assert found.pools[0].status.nodes_in_flight == 1
    more = look([flying(), b.make_node(SEVEN, name="b")], [waits(count=3)], make_pool(maxNodesInFlight=5))
    assert kinds(more) == {"b": "Begin"}


def test_the_cap_counts_what_is_under_way() -> None:
    found = look([flying(), b.make_node(SEVEN, name="b")], [waits(count=3)])
    assert told(found)["b"] == reasons.NODES_IN_FLIGHT


def test_pools_that_contradict_each_other_leave_a_node_alone() -> None:
    found = look([b.make_node(SEVEN)], [waits()], make_pool("x"), make_pool("y", mode="Static", layout=[]))
    assert told(found) == {"node-a": reasons.POOLS_CONTRADICT}
    assert kinds(found) == {}
    assert "x and y" in found.nodes[0].message


def test_a_pool_without_a_mode_is_none_of_them() -> None:
    off = builders.make_pool("off", **POOL)
    assert kinds(look([b.make_node(SEVEN)], [waits()], make_pool(), off)) == {"node-a": "Begin"}
    assert rounds.is_idle(builders.make_snapshot([b.make_node(SEVEN)], pools=[off]))
    assert not rounds.is_idle(builders.make_snapshot([flying()], pools=[off]))


@pytest.mark.parametrize(
    ("phase", "kind"),
    [
        pytest.param("Fenced", {"a": "GiveBack"}, id="only fenced"),
        pytest.param("Applying", {}, id="labelled"),
    ],
)
def test_a_pool_that_lets_go_finishes_what_it_has_begun(phase: mig.Phase, kind: dict[str, str]) -> None:
    assert kinds(look([flying(phase)], [waits()], make_pool(mode="Off"))) == kind
    assert kinds(look([flying(phase)], [waits()], make_pool(act="Advisory"))) == kind


def test_what_nobody_waits_for_any_more_is_given_up_while_it_is_fenced() -> None:
    assert kinds(look([flying("Fenced")], [])) == {"a": "GiveBack"}
    assert kinds(look([flying("Fenced")], [waits()])) == {}


def test_nothing_begins_while_the_file_cannot_be_read_or_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = look([b.make_node(SEVEN)], [waits()], file="{")
    assert told(broken) == {"node-a": reasons.CONFIG_MAP_UNREADABLE}
    assert (broken.file, broken.trouble is None) == (None, False)
    monkeypatch.setattr(configs, "LIMIT_BYTES", 100)
    assert told(look([b.make_node(SEVEN)], [waits()])) == {"node-a": reasons.CONFIG_MAP_FULL}


def test_a_file_that_was_deleted_is_written_again() -> None:
    found = look([flying()], [waits()])
    assert found.file is not None
    assert found.file.text is not None
    assert len(found.file.lost) == 1


def test_a_step_is_done_only_where_it_still_holds() -> None:
    node = b.make_node(SEVEN)
    [order] = look([node], [waits()]).orders
    assert rounds.check(order, node, [], b.NOW) is not None
    for other in (
        dataclasses.replace(node, uid="another"),
        dataclasses.replace(node, unschedulable=True),
        b.make_node({b.THREE: 1}),
        flying("Fenced", "node-a"),
    ):
        assert rounds.check(order, other, [], b.NOW) is None


def test_active_pools_are_planned_first_and_take_what_waits() -> None:
    def node(name: str, pool: str) -> fleet.Node:
        made = b.make_node(SEVEN, name=name)
        return dataclasses.replace(made, labels={**made.labels, "gpufleet.dev/pool": pool})

    def pool(name: str, act: str) -> Any:
        return builders.make_pool(name, nodeSelector={"gpufleet.dev/pool": name}, mig={**ACTIVE, "act": act})

    found = look(
        [node("n1", "p1"), node("n2", "p2")], [waits()], pool("p1", "Advisory"), pool("p2", "Active")
    )
    assert kinds(found) == {"n2": "Begin"}
    plans = {one.pool.metadata.name: one.status.plan for one in found.pools}
    assert plans["p1"] is not None
    assert plans["p1"].reason == explain.NO_DEMAND


def test_the_same_view_gives_the_same_round() -> None:
    nodes = [b.make_node(SEVEN, name=name) for name in "abc"]
    pods = [waits(str(number)) for number in range(5)]
    assert look(nodes, pods, make_pool(maxNodesInFlight=3)) == look(
        nodes, pods, make_pool(maxNodesInFlight=3)
    )
