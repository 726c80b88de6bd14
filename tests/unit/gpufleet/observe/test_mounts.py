from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from gpufleet.observe import mounts
from gpufleet.state import fleet
from tests import builders
from tests.unit.gpufleet.observe import fakes
from tests.unit.gpufleet.observe.test_cluster import Api


def failure(message: str, **about: Any) -> fakes.Raw:
    involved = {"kind": "Pod", "namespace": "default", "name": "a", "uid": "uid-a", **about}
    return {**fakes.build_raw("a.1"), "involvedObject": involved, "message": message}


def state(waiting: str) -> tuple[fleet.ContainerState, ...]:
    return (fleet.ContainerState("triton", waiting_reason=waiting),)


async def synced(*events: fakes.Raw) -> tuple[mounts.Mounts, list[tuple[str, str]]]:
    told: list[tuple[str, str]] = []
    made = mounts.Mounts(Api(events=list(events)), lambda *about: told.append(about))  # type: ignore[arg-type]
    running = asyncio.create_task(made.informer.run())
    await made.informer.synced.wait()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    return made, told


@pytest.mark.parametrize(
    ("event", "waiting", "expected"),
    [
        pytest.param(failure("no\n  secret"), "ContainerCreating", "no secret", id="being created"),
        pytest.param(failure("no secret"), "PodInitializing", "no secret", id="its sidecar is not up"),
        pytest.param(failure("no secret"), "CrashLoopBackOff", "", id="mounted since"),
        pytest.param(failure("no secret"), "", "", id="runs since"),
        pytest.param(failure("no secret", uid="other"), "ContainerCreating", "", id="a namesake's"),
        pytest.param(failure("no disk", kind="Node"), "ContainerCreating", "", id="not a pod's"),
    ],
)
async def test_a_pod_that_is_being_created_says_why(event: fakes.Raw, waiting: str, expected: str) -> None:
    made, _ = await synced(event)
    [pod] = made.explain([builders.make_pod("a", uid="uid-a", containers=state(waiting))])
    assert pod.mount_message == expected


LATE = 'volume "wanted": failed to sync configmap cache: timed out waiting for the condition'


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param(["no secret", LATE], "no secret", id="a cause counts more than a delay after it"),
        pytest.param([LATE, "no secret"], "no secret", id="or before it"),
        pytest.param([LATE], LATE, id="a delay alone is told"),
        pytest.param(["no secret", "no map"], "no map", id="the newest cause"),
    ],
)
async def test_of_several_the_most_telling(messages: list[str], expected: str) -> None:
    events = [
        failure(one) | fakes.build_raw(f"a.{number}", uid=f"uid-event-{number}")
        for number, one in enumerate(messages)
    ]
    made, _ = await synced(*events)
    [pod] = made.explain([builders.make_pod("a", uid="uid-a", containers=state("ContainerCreating"))])
    assert pod.mount_message == expected


async def test_the_pods_owner_hears_of_it() -> None:
    _, told = await synced(failure("no secret"))
    assert told == [("default", "a")]
