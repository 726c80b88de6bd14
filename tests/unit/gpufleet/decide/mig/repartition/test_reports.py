"""What is told of single nodes: before and after of each GPU, the cost, and what keeps it from beginning."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gpufleet.decide.mig.repartition import reasons, reports
from gpufleet.state import fleet, mig
from tests.unit.gpufleet.decide.mig.repartition import builders_mig as b
from tests.unit.gpufleet.decide.mig.repartition import test_rounds as looks

SEVEN, HALVES = looks.SEVEN, {b.THREE: 2}
COST = 7 * 60 / 3600
"""Seven idle slices that are away for a minute, within an hour."""
CHANGE = b.make_change([SEVEN], [HALVES])


def plan(nodes: list[fleet.Node], pods: list[fleet.Pod], **policy: Any) -> reports.PoolReport:
    [found] = looks.look(nodes, pods, looks.make_pool(**policy)).pools
    return found


def gpu(index: int, before: b.Slices, after: b.Slices, **fields: Any) -> reports.GpuPlan:
    counts = [None if one is None else mig.counts_of(one) for one in (before, after)]
    return reports.GpuPlan(index, *counts, **fields)


MADE = {"cost": pytest.approx(COST), "reason": "makes 2 × 3g.40gb, destroys 7 idle"}
STATIC = {"mode": "Static", "layout": [{"profile": b.THREE, "count": 2}]}


@pytest.mark.parametrize(
    ("node", "policy", "reason", "said", "expected"),
    [
        pytest.param(
            b.make_node(SEVEN),
            {},
            reasons.FENCED,
            "nothing keeps it from beginning",
            [gpu(0, SEVEN, HALVES, **MADE)],
            id="it begins",
        ),
        pytest.param(
            b.make_node(SEVEN),
            {"act": "Advisory"},
            reasons.ADVISORY,
            "nobody carries it out",
            [gpu(0, SEVEN, HALVES, **MADE)],
            id="advice",
        ),
        pytest.param(
            b.make_node(None),
            {},
            reasons.FENCED,
            "nothing keeps it",
            [gpu(0, None, HALVES, cost=pytest.approx(60 / 3600), reason="makes 2 × 3g.40gb")],
            id="MIG is turned on",
        ),
        pytest.param(
            b.make_node(SEVEN, change=dataclasses.replace(CHANGE, began=b.at(-60)), label=CHANGE.label),
            {},
            reasons.AWAITING_CONFIG,
            "node-a",
            [gpu(0, SEVEN, HALVES)],
            id="under way",
        ),
        pytest.param(
            b.make_node(SEVEN, None),
            STATIC | {"reservedWholeGPUs": 1},
            reasons.FENCED,
            "nothing keeps it",
            [gpu(0, SEVEN, HALVES, cost=pytest.approx(COST), reason="as mig.layout says")],
            id="one layout for all but the whole",
        ),
        pytest.param(
            b.make_node(SEVEN, SEVEN),
            STATIC | {"reservedWholeGPUs": 1},
            reasons.FENCED,
            "nothing keeps it",
            [
                gpu(0, SEVEN, None, cost=pytest.approx(COST), reason="as mig.layout says"),
                gpu(1, SEVEN, HALVES, cost=pytest.approx(COST), reason="as mig.layout says"),
            ],
            id="one is to be whole",
        ),
    ],
)
def test_a_node_that_changes(
    node: fleet.Node, policy: dict[str, Any], reason: str, said: str, expected: list[reports.GpuPlan]
) -> None:
    [found] = plan([node], [looks.waits()], **policy).nodes
    assert (found.node, found.reason) == ("node-a", reason)
    assert said in found.message
    assert list(found.gpus) == expected


def test_a_layout_that_waits_for_pods_says_so() -> None:
    node = b.make_node(SEVEN, holders={(0, 0): b.holder_text("old")})
    [found] = plan([node], [b.make_holder("old")], **STATIC).nodes
    [told] = found.gpus
    assert told.reason == "as mig.layout says, once pods have left 1 busy slices"


def test_nodes_that_are_not_planned_for_are_counted_by_reason() -> None:
    nodes = [
        b.make_node(SEVEN),
        b.make_node(SEVEN, name="y", unschedulable=True),
        b.make_node(SEVEN, name="z"),
    ]
    found = plan(nodes, [looks.waits()], act="Advisory")
    assert [(one.reason, one.nodes, one.example) for one in found.left_alone] == [
        (reasons.NODE_CORDONED, 1, "y")
    ]
    kept = {one.reason: one.nodes for one in found.status.kept_out}
    assert kept == {reasons.ADVISORY: 1, reasons.NODE_CORDONED: 1}, "status counts those that are planned too"
    [outcome] = found.outcomes
    assert (outcome.demand.profile, outcome.served) == (b.THREE, 1)
