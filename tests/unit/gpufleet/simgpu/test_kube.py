"""How one object is followed, against a server that is a script."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gpufleet.simgpu import kube, node

Event = tuple[str, dict[str, Any]]


def body(version: int, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": "node-a", "resourceVersion": str(version), "labels": labels}}


class ScriptedApi:
    """Answers lists and watches in turn; an exception in the script is raised; then it hangs."""

    def __init__(self, lists: list[Any], watches: list[list[Any]]) -> None:
        self.lists = lists
        self.watches = watches
        self.asked: list[str] = []

    async def read(self, path: str, **query: str) -> dict[str, Any]:
        assert query["fieldSelector"] == "metadata.name=node-a"
        answer = self.lists.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {"metadata": {"resourceVersion": "10"}, "items": answer}

    async def watch(self, path: str, **query: str) -> AsyncIterator[Event]:
        self.asked.append(query["resourceVersion"])
        if not self.watches:
            await asyncio.Event().wait()
        for step in self.watches.pop(0):
            if isinstance(step, Exception):
                raise step
            yield step


async def followed(api: ScriptedApi, count: int) -> list[dict[str, Any] | None]:
    """The first `count` states that are handed on."""
    states: list[dict[str, Any] | None] = []
    enough = asyncio.Event()

    async def take(state: dict[str, Any] | None) -> None:
        states.append(state)
        if len(states) >= count:
            enough.set()

    task = asyncio.create_task(kube.follow(api, node.PATH, "node-a", take))  # type: ignore[arg-type]
    async with asyncio.timeout(20):
        await enough.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return states


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube, "RETRY_S", 0.0)


async def test_the_list_comes_first_then_every_change_and_no_bookmark() -> None:
    watch: list[Any] = [("BOOKMARK", body(11)), ("MODIFIED", body(12)), ("DELETED", body(13))]
    api = ScriptedApi([[body(9)]], [watch])
    api.lists.append([])
    assert await followed(api, 4) == [body(9), body(12), None, None]
    assert api.asked[0] == "10"


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(kube.ApiError(410, "too old"), id="history gone"),
        pytest.param(ConnectionResetError(), id="connection lost"),
        pytest.param(TimeoutError(), id="timeout"),
        pytest.param(ValueError("half a line"), id="cut off"),
    ],
)
async def test_a_broken_watch_is_listed_again(failure: Exception) -> None:
    api = ScriptedApi([[body(9)], failure, [body(20)]], [[("MODIFIED", body(12)), failure]])
    assert await followed(api, 3) == [body(9), body(12), body(20)]


async def test_a_view_keeps_its_last_state_when_the_node_goes() -> None:
    view = node.NodeView(body(1, zone="a"))
    await view.update(None)
    assert (view.labels, view.changes) == ({"zone": "a"}, 0)
    await view.update(body(2, zone="b"))
    assert (view.labels, view.changes, await view.wait(0)) == ({"zone": "b"}, 1, 1)
