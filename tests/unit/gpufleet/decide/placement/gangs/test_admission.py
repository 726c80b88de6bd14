from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gpufleet.api import reasons, training_job
from gpufleet.decide.placement import assign
from gpufleet.state import fleet
from tests import builders
from tests.builders import GPU, NOW, make_job, make_pool, make_worker

LEVELS = ["example.com/block", "example.com/rack"]
POOL = make_pool(topology={"levels": LEVELS})
PRIORITIES = {"": 0, "high": 100, "low": -5}


def make_node(name: str, rack: str = "r0", block: str = "b0", **fields: Any) -> fleet.Node:
    made = builders.make_node(name, **fields)
    return dataclasses.replace(made, labels={**made.labels, LEVELS[0]: block, LEVELS[1]: rack})


NODES = [make_node(f"n{number}", f"r{number // 2}", f"b{number // 4}") for number in range(8)]


def gang(name: str = "llm", workers: int = 2, count: int = 8, **fields: Any) -> training_job.TrainingJob:
    return make_job(name, workers={"max": workers}, accelerator={"count": count}, **fields)


def read(*jobs: training_job.TrainingJob, nodes: Any = NODES, **fields: Any) -> dict[str, Any]:
    view = builders.make_snapshot(nodes, pools=[POOL], jobs=jobs, priorities=PRIORITIES, **fields)
    return {one.name: dict(one.value) for one in assign.assign(view, {}, NOW)}


def places(value: dict[str, Any]) -> dict[str, int]:
    return {one["values"][-1]: one["workers"] for one in value["placement"]["domains"]}


def put(workers: int = 2, count: int = 8, /, **placed: int) -> dict[str, Any]:
    """The status of a gang that has these places."""
    accelerator = {"resource": GPU, "count": count, "products": [], "pool": "a100"}
    domains = [{"values": [name], "workers": here} for name, here in placed.items()]
    given = {"workers": workers, "accelerator": accelerator, "requested": f"count={count}"}
    return {"assignment": {**given, "placement": {"levels": ["metadata.name"], "domains": domains}}}


@pytest.mark.parametrize(
    ("wish", "workers", "expected"),
    [
        pytest.param(None, 2, {"n0": 1, "n1": 1}, id="none"),
        pytest.param({"required": "rack"}, 2, {"n0": 1, "n1": 1}, id="required, by its short name"),
        pytest.param({"required": LEVELS[0]}, 4, {f"n{n}": 1 for n in range(4)}, id="by its key"),
        pytest.param({"preferred": "rack"}, 3, {"n0": 1, "n1": 1, "n2": 1}, id="preferred: one wider"),
        pytest.param({"preferred": "nowhere"}, 1, {"n0": 1}, id="a preference for what is not there"),
    ],
)
def test_places(wish: Any, workers: int, expected: dict[str, int]) -> None:
    spec = {"topology": wish} if wish else {}
    value = read(gang(workers=workers, **spec))["llm"]
    assert (value["workers"], places(value)) == (workers, expected)


@pytest.mark.parametrize(
    ("job", "reason", "words"),
    [
        pytest.param(
            gang(workers=3, topology={"required": "rack"}),
            reasons.TOPOLOGY_UNSATISFIABLE,
            ["one domain of example.com/rack", "room for 2"],
            id="no rack is so large",
        ),
        pytest.param(
            gang(topology={"required": "nvlink"}),
            reasons.TOPOLOGY_UNSATISFIABLE,
            ["level nvlink", "a100", LEVELS[1]],
            id="no such level",
        ),
        pytest.param(gang(workers=9), reasons.EXCEEDS_FLEET, ["room for 8", "add nodes"], id="more than all"),
    ],
)
def test_what_can_never_be_is_said(job: training_job.TrainingJob, reason: str, words: list[str]) -> None:
    value = read(job)["llm"]
    assert (value["workers"], value["reason"]) == (0, reason)
    assert [word for word in words if word not in value["message"]] == []


def test_a_node_that_is_down_makes_nothing_impossible() -> None:
    nodes = [dataclasses.replace(node, ready=node.name not in ("n0", "n2", "n4", "n6")) for node in NODES]
    assert read(gang(topology={"required": "rack"}), nodes=nodes)["llm"]["reason"] == "InsufficientCapacity"


def test_the_more_urgent_first_then_the_older_one() -> None:
    jobs = [
        gang("old", workers=5, created_s=-9.0),
        gang("new", workers=5),
        gang("urgent", workers=5, priorityClassName="high"),
        gang("unknown", workers=3, priorityClassName="nowhere"),
    ]
    found = read(*jobs)
    assert {name: value["workers"] for name, value in found.items() if value["workers"]} == {
        "urgent": 5,
        "unknown": 3,
    }


def test_a_node_that_may_still_take_pods_of_a_gang_is_closed_to_others() -> None:
    """The scheduler may put both workers on n1, whatever the cycle has in mind."""
    first = gang("first", workers=2, count=4, status=put(2, 4, n0=1, n1=1))
    nodes = [make_node("n0"), make_node("n1")]
    assert read(first, gang("second", workers=1, count=4), nodes=nodes)["second"]["workers"] == 0
    pods = [make_worker(f"first-{n}", "first", node=f"n{n}", requests={GPU: 4}) for n in range(2)]
    after = read(first, gang("second", workers=1, count=4), nodes=nodes, pods=pods)
    assert after["second"]["workers"] == 1


def lost(*names: str) -> list[fleet.Node]:
    return [dataclasses.replace(node, ready=node.name not in names) for node in NODES]


def test_a_gang_between_two_attempts_moves_off_a_node_that_is_lost() -> None:
    value = read(gang(status=put(n0=1, n1=1)), nodes=lost("n1"))["llm"]
    assert value["workers"] == 2
    assert "n1" not in places(value)


def test_and_off_a_suspected_one_while_there_is_room_elsewhere() -> None:
    record = {"attempt": 1, "endedBy": "Infrastructure", "node": "n1", "endTime": NOW.isoformat()}
    job = gang(status={**put(n0=1, n1=1), "attempt": 1, "history": [record]})
    assert "n1" not in places(read(job)["llm"])
    assert read(job, nodes=NODES[:2]) == {}


def test_a_gang_that_cannot_be_whole_where_it_is_ends_and_waits() -> None:
    job = gang(status={**put(n0=1, n1=1), "attempt": 1})
    pods = [
        make_worker("llm-0", node="n0", requests={GPU: 8}, phase="Running"),
        make_worker("llm-1", requests={GPU: 8}),
    ]
    value = read(job, nodes=lost("n1"), pods=pods, live_workers={"uid-llm": 2})["llm"]
    assert (value["workers"], value["reason"]) == (0, reasons.PLACES_LOST)
    told = gang(status={"assignment": value, "attempt": 1})
    assert read(told, pods=pods, live_workers={"uid-llm": 2}) == {}, "until its workers have ended"
    assert read(told)["llm"]["workers"] == 2


def test_a_gang_on_many_nodes_is_told_its_domains() -> None:
    nodes = [make_node(f"n{n:03}", f"r{n // 20}") for n in range(100)]
    value = read(gang(workers=80), nodes=nodes)["llm"]
    assert value["placement"]["levels"] == LEVELS
    assert sum(one["workers"] for one in value["placement"]["domains"]) == 80
    assert read(gang(workers=80, status={"assignment": value}), nodes=nodes) == {}
