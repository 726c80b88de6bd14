"""The plan of MIG layouts as the read API tells it."""

from __future__ import annotations

import json

from gpufleet.handlers import layouts
from tests.unit.gpufleet.decide.mig.repartition import builders_mig as b
from tests.unit.gpufleet.decide.mig.repartition import test_rounds as looks


def test_a_plan_in_its_wire_form() -> None:
    nodes = [b.make_node(looks.SEVEN, None), b.make_node(looks.SEVEN, name="z", ready=False)]
    found = looks.look(nodes, [looks.waits()], looks.make_pool(act="Advisory", reservedWholeGPUs=1))
    told = json.loads(json.dumps(layouts.describe(found, b.NOW)))
    assert (told["at"], told["contradictions"]) == ("2030-01-01T12:00:00+00:00", [])
    [pool] = told["pools"]
    assert (pool["name"], pool["mode"], pool["act"], pool["reason"]) == (
        "h100", "Dynamic", "Advisory", "Repartition"
    )  # fmt: skip
    assert pool["demand"] == [{"profile": b.THREE, "weight": 3.0, "count": 1, "served": 1}]
    assert pool["leftAlone"] == [{"reason": "NodeNotReady", "nodes": 1, "example": "z"}]
    [node] = pool["nodes"]
    assert (node["name"], node["reason"], node["cost"]) == ("node-a", "Advisory", 0.116667)
    [gpu] = node["gpus"]
    assert (gpu["before"], gpu["after"]) == ({b.ONE: 7}, {b.THREE: 2})


def test_nodes_that_several_pools_claim_are_told_apart() -> None:
    found = looks.look([b.make_node(looks.SEVEN)], [], looks.make_pool("x"), looks.make_pool("y"))
    [said] = layouts.describe(found, b.NOW)["contradictions"]
    assert "x and y" in said
