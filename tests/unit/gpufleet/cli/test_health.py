from __future__ import annotations

import datetime
from typing import Any

import pytest

from gpufleet.cli import health, picture
from gpufleet.decide.training import lifecycle
from tests import builders
from tests.builders import NOW
from tests.unit.gpufleet.cli import wires
from tests.unit.gpufleet.cli.wires import condition, thing

READY = condition("Ready", "True", "AllModelsReady")
STALLED = condition("Stalled", "True", "InvalidSpec", "it cannot be")
SLICE = "nvidia.com/mig-1g.10gb"


def briefly(found: Any) -> list[tuple[str, str]]:
    return [(one.level, one.reason) for one in found]


@pytest.mark.parametrize(
    ("levels", "code"),
    [
        pytest.param([], 0, id="nothing"),
        pytest.param(["waits", "advised"], 0, id="what waits is not wrong"),
        pytest.param(["unknown"], 2, id="nobody can tell"),
        pytest.param(["unknown", "wrong"], 1, id="wrong is more than unknown"),
    ],
)
def test_the_verdict(levels: list[Any], code: int) -> None:
    assert health.judge([health.Finding(level, "K", "n", "R") for level in levels])[0] == code


@pytest.mark.parametrize(
    ("service", "found"),
    [
        pytest.param(thing("s", READY), [], id="ready"),
        pytest.param(
            thing("s", condition("Ready", "False", "PodsNotReady")), [("wrong", "PodsNotReady")], id="not"
        ),
        pytest.param(
            thing("s", condition("Ready", "False", "PodsNotReady", age_s=60)),
            [("waits", "PodsNotReady")],
            id="it starts",
        ),
        pytest.param(
            thing("s", condition("Ready", "False", "ContainerCrashing", age_s=60)),
            [("wrong", "ContainerCrashing")],
            id="what crashes is given no time",
        ),
        pytest.param(thing("s", condition("Ready", "False", "ScaledToZero")), [], id="it sleeps"),
        pytest.param(thing("s"), [("wrong", "NoStatus")], id="nobody looks after it"),
        pytest.param(thing("s", READY, STALLED), [("wrong", "InvalidSpec")], id="serves, and is stalled"),
        pytest.param(
            thing("s", condition("Ready", "False", "PodsNotReady"), STALLED),
            [("wrong", "InvalidSpec")],
            id="told once",
        ),
        pytest.param(
            thing(
                "s", READY, assignment={"replicas": 1}, autoscaling={"mode": "Advisory", "replicas": 3}
            ),
            [("advised", "Autoscaling")],
            id="advice on servers",
        ),
        pytest.param(
            thing("s", READY, assignment={"replicas": 3}, autoscaling={"mode": "Advisory", "replicas": 3}),
            [],
            id="advice that is followed",
        ),
        pytest.param(
            thing("s", READY, rightSizing={"reason": "SmallerFits", "message": "m"}),
            [("advised", "SmallerFits")],
            id="a smaller slice",
        ),
        pytest.param(
            thing("s", READY, sliceChoice={"reason": "CheaperSlice", "message": "m"}),
            [("advised", "CheaperSlice")],
            id="a slice that costs less",
        ),
        pytest.param(
            thing("s", READY, sliceChoice={"reason": "BestSlice", "message": "m"}), [], id="the best slice"
        ),
    ],
)  # fmt: skip
def test_services(service: picture.Thing, found: list[tuple[str, str]]) -> None:
    assert briefly(health.find_in_services([service], NOW)) == found


ENTRY = {"namespace": "team", "name": "llm", "position": 2, "message": "it needs 8", "etaSeconds": 600}
WAITING = {"assignment": {"workers": 0, "reason": "InsufficientCapacity", "message": "it needs 8"}}


@pytest.mark.parametrize(
    ("job", "queue", "found"),
    [
        pytest.param(thing("llm", condition("Succeeded", "True", "Completed")), [], [], id="done"),
        pytest.param(thing("llm", spec={"managedBy": "a.b/c"}), [], [], id="another controller's"),
        pytest.param(
            thing("llm", spec={"managedBy": "gpufleet.dev/operator"}), [], [("waits", "NoStatus")], id="new"
        ),
        pytest.param(thing("llm", activeWorkers=2), [], [], id="runs"),
        pytest.param(thing("llm", spec={"suspend": True}), [], [], id="suspended"),
        pytest.param(thing("llm", **WAITING), [ENTRY], [("waits", "InsufficientCapacity")], id="waits"),
        pytest.param(
            thing("llm", **WAITING),
            [{**ENTRY, "wouldEnd": ["team/b"]}],
            [("waits", "InsufficientCapacity"), ("advised", "Preemption")],
            id="others would give way",
        ),
        pytest.param(
            thing("llm", condition("Succeeded", "Unknown", "Restarting")), [], [("waits", "Restarting")],
            id="starts again",
        ),
        pytest.param(
            thing("llm", condition("Succeeded", "False", "UserError")), [], [("wrong", "UserError")],
            id="failed an hour ago",
        ),
        pytest.param(
            thing("llm", condition("Succeeded", "False", "UserError", age_s=90_000)), [], [],
            id="failed yesterday",
        ),
        pytest.param(thing("llm", STALLED, activeWorkers=2), [], [("wrong", "InvalidSpec")], id="stalled"),
    ],
)  # fmt: skip
def test_jobs(job: picture.Thing, queue: list[dict[str, Any]], found: list[tuple[str, str]]) -> None:
    assert briefly(health.find_in_jobs([job], queue, NOW)) == found


def test_whose_jobs_are_ours() -> None:
    assert health.CONTROLLER == lifecycle.OPERATOR


def test_a_gang_that_waits_says_when() -> None:
    [told] = health.find_in_jobs([thing("llm", **WAITING)], [ENTRY], NOW)
    assert told.message == "number 2 of the queue, in about 10 min: it needs 8"


PLAN = {"plan": {"reason": "Planned", "message": "m", "gpus": 2}}


@pytest.mark.parametrize(
    ("pool", "reports", "found"),
    [
        pytest.param(thing("p", READY), [], [], id="ready"),
        pytest.param(
            thing("p", condition("Ready", "False", "NodesNotReady")), [], [("wrong", "NodesNotReady")],
            id="not",
        ),
        pytest.param(
            thing("p", condition("Ready", "False", "NoMatchingNodes")), [], [("wrong", "NoMatchingNodes")],
            id="without nodes",
        ),
        pytest.param(
            thing("p", condition("Ready", "False", "NoMatchingNodes"), spec={"maxNodes": 4}), [],
            [("waits", "NoMatchingNodes")], id="nodes come when they are needed",
        ),
        pytest.param(
            thing("p", READY, mig=PLAN, spec={"mig": {}}), [], [("advised", "Planned")],
            id="a plan that nobody carries out",
        ),
        pytest.param(thing("p", READY, mig=PLAN, spec={"mig": {"act": "Active"}}), [], [], id="carried out"),
        pytest.param(
            thing("p", READY), [picture.NodeReport("n", reason="RollbackFailed")],
            [("wrong", "RollbackFailed")],
            id="a repartition in trouble",
        ),
        pytest.param(thing("p", READY), [picture.NodeReport("n", reason="Settled")], [], id="none"),
    ],
)  # fmt: skip
def test_pools(pool: picture.Thing, reports: list[Any], found: list[tuple[str, str]]) -> None:
    assert briefly(health.find_in_pools([pool], reports)) == found


SOUND = {"configured": True, "ageSeconds": 4.0, "error": "", "notes": []}


@pytest.mark.parametrize(
    ("silent", "prometheus", "found"),
    [
        pytest.param([], SOUND, [], id="sound"),
        pytest.param([], {"configured": False, "error": "no URL"}, [], id="no Prometheus is wanted"),
        pytest.param([], {**SOUND, "error": "refused"}, [("wrong", "Unreachable")], id="unreachable"),
        pytest.param([], {**SOUND, "ageSeconds": 500}, [("wrong", "Stale")], id="stale"),
        pytest.param([], {**SOUND, "ageSeconds": None}, [("unknown", "NotAsked")], id="not asked yet"),
        pytest.param([], {**SOUND, "notes": ["n"]}, [("advised", "Partial")], id="a part is missing"),
        pytest.param(["Pod"], SOUND, [("wrong", "WatchSilent")], id="a watch is silent"),
    ],
)
def test_the_operator(silent: list[str], prometheus: dict[str, Any], found: list[tuple[str, str]]) -> None:
    about = health.About(silent_watches=silent, prometheus=prometheus)
    assert briefly(health.find_in_operator(about)) == found


def test_devices_are_counted_as_the_metrics_count_them() -> None:
    nodes = [
        builders.make_node("a", {builders.GPU: 4, SLICE: 7}),
        builders.make_node("b", {builders.GPU: 8}, ready=False),
        builders.make_node("c", {builders.GPU: 8}, pool="", unschedulable=True),
    ]
    pods = [
        builders.make_pod("one", node="a", phase="Running", requests={builders.GPU: 3}),
        builders.make_pod("two", node="a", phase="Running", requests={SLICE: 2}),
        builders.make_pod("old", node="a", phase="Succeeded", requests={SLICE: 2}),
    ]
    taken = builders.make_snapshot(nodes, pods, pools=[builders.make_pool()])
    told_nodes, devices = health.count(wires.read(taken))
    assert [(one.pool, one.total, one.ready, one.cordoned) for one in told_nodes] == [
        ("", 1, 1, 1),
        ("a100", 2, 1, 0),
    ]
    assert [
        (one.pool, one.resource, one.total, one.used, one.free, one.unusable) for one in devices
    ] == [
        ("", builders.GPU, 8, 0, 0, 8),
        ("a100", builders.GPU, 12, 3, 1, 8),
        ("a100", SLICE, 7, 2, 5, 0),
    ]  # fmt: skip


def test_ages_are_told_from_the_first_look() -> None:
    [told] = health.find_in_services([thing("s")], NOW + datetime.timedelta(hours=1))
    assert told.since == NOW - datetime.timedelta(hours=1)
