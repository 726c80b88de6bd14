"""Room for a rollout: granted once, booked, and given back."""

from __future__ import annotations

from typing import Any

import pytest

from gpufleet.decide.placement import assign
from tests import builders
from tests.builders import GPU, NOW, make_job, make_node, make_service, make_service_pod, make_snapshot

ONE = {"count": 1}
ASKED = {"revision": "new", "previous": "old", "phase": "Waiting"}


def service(name: str = "vision", *, before: dict[str, Any] | None = None, **fields: Any) -> Any:
    """Four servers, and a rollout that asks for room; `before` is laid over its assignment."""
    accelerator = {"resource": GPU, "count": 1, "pool": "a100"}
    assigned = {"replicas": 4, "requested": "count=1", "accelerator": accelerator, **(before or {})}
    status = {"assignment": assigned, "rollout": ASKED | fields.pop("rollout", {})}
    return make_service(name, status=status, replicas=4, **{"accelerator": ONE, **fields})


def servers(count: int, name: str = "vision", **fields: Any) -> list[Any]:
    held = {"node": "node-a", "requests": {GPU: 1}, **fields}
    return [make_service_pod(f"{name}-{index}", name, **held) for index in range(count)]


def grants(places: int, pods: list[Any], *services: Any, jobs: tuple[Any, ...] = ()) -> dict[str, Any]:
    """(request, surge) by service of those whose assignment changes; workers by job."""
    nodes = [make_node("node-a", {GPU: places})]
    view = make_snapshot(nodes, pods, services=list(services), jobs=jobs, pools=[builders.make_pool()])
    changed = assign.assign(view, {}, NOW)
    found = {
        one.name: (one.value.get("rollout", ""), one.value.get("surge", 0))
        for one in changed
        if "replicas" in one.value
    }
    return found | {one.name: one.value["workers"] for one in changed if "workers" in one.value}


@pytest.mark.parametrize(
    ("places", "pods", "asking", "expected"),
    [
        pytest.param(5, servers(4), service(), ("new:100", 1), id="room for the step"),
        pytest.param(4, servers(4), service(), ("new:100", 0), id="no room"),
        pytest.param(
            9, servers(4), service(rollout={"weight": 10}), ("new:10", 1), id="the answer names its request"
        ),
        pytest.param(9, servers(4), service(), ("new:100", 1), id="no more than a step"),
        pytest.param(
            5,
            [*servers(3), make_service_pod("v", node="node-a", requests={GPU: 1}, deleting=True)],
            service(before={"rollout": "new:100", "surge": 1}),
            None,
            id="stays granted while a server leaves",
        ),
        pytest.param(
            4,
            servers(4),
            service(before={"rollout": "new:100", "surge": 1}),
            ("new:100", 0),
            id="taken back where the room is gone",
        ),
        pytest.param(
            5,
            servers(4),
            service(before={"rollout": "new:100", "surge": 1}, rollout={"phase": "Returned"}),
            ("", 0),
            id="given back by one that failed",
        ),
        pytest.param(
            5,
            servers(4),
            service(before={"rollout": "new:100", "surge": 1}, rollout={"phase": "Canary"}),
            ("new:100", 0),
            id="given back by a canary that does not use it",
        ),
        pytest.param(
            0,
            [],
            service(accelerator=None, before={"requested": "none", "accelerator": None}),
            ("new:100", 1),
            id="no accelerator, no booking",
        ),
    ],
)
def test_grants(places: int, pods: list[Any], asking: Any, expected: Any) -> None:
    assert grants(places, pods, asking).get("vision") == expected


def test_two_rollouts_do_not_get_the_same_place() -> None:
    pods = [*servers(4), *servers(4, "audio")]
    found = grants(9, pods, service("audio"), service("vision"))
    assert sorted(found.values()) == [("new:100", 0), ("new:100", 1)]


def test_a_gang_does_not_take_what_a_rollout_was_given() -> None:
    job = make_job(workers={"max": 1}, accelerator=ONE)
    given = service(before={"rollout": "new:100", "surge": 1})
    assert grants(5, servers(4), given, jobs=(job,)) == {"llm": 0}
    assert grants(6, servers(4), given, jobs=(job,)) == {"llm": 1}
