"""A clock to move by hand, raw objects, and an API server that answers from a script."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
from collections.abc import AsyncIterator, Callable
from typing import Any

from gpufleet import kube

Raw = dict[str, Any]


@dataclasses.dataclass
class ManualClock:
    """Stands still until a test moves it."""

    time_s: float = 1000.0

    def now(self) -> datetime.datetime:
        return datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=self.time_s)

    def monotonic_s(self) -> float:
        return self.time_s


def build_raw(name: str, version: int = 1, *, uid: str = "", **more: Any) -> Raw:
    """An object in namespace `team`; `more` are keys of metadata, `spec` and `status` of the object."""
    body = {key: more.pop(key) for key in ("spec", "status", "kind", "apiVersion") if key in more}
    metadata = {
        "name": name,
        "namespace": "team",
        "uid": uid or f"uid-{name}",
        "resourceVersion": str(version),
    }
    return {"metadata": metadata | more, **body}


def build_list(*items: Raw, version: int, token: str = "") -> Raw:
    return {"metadata": {"resourceVersion": str(version), "continue": token}, "items": list(items)}


class ScriptedClient:
    """Answers lists and watches one after the other; an exception is raised, an exhausted script hangs."""

    def __init__(self, lists: list[Any] | None = None, watches: list[list[Any]] | None = None) -> None:
        self.lists = lists or []
        self.watches = watches or []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.paths: list[tuple[str, str]] = []
        self.objects: dict[str, Raw] = {}

    async def list(self, path: str, **params: Any) -> Raw:
        self.asked.append(("list", params))
        self.paths.append(("list", path))
        answer = self.lists.pop(0) if self.lists else await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        found: Raw = answer
        return found

    async def get(self, path: str) -> Raw:
        self.asked.append(("get", {"path": path}))
        if path not in self.objects:
            raise kube.NotFound(404, "gone")
        return self.objects[path]

    async def watch(self, path: str, *, on_open: Callable[[], None], **params: Any) -> AsyncIterator[Raw]:
        self.asked.append(("watch", params))
        self.paths.append(("watch", path))
        if not self.watches:
            await asyncio.Event().wait()
        on_open()
        for event in self.watches.pop(0):
            if isinstance(event, Exception):
                raise event
            yield event

    def versions_watched(self) -> list[str]:
        return [params["resourceVersion"] for verb, params in self.asked if verb == "watch"]


async def settle(until: Callable[[], bool]) -> None:
    """Lets tasks run until the condition holds."""
    async with asyncio.timeout(5):
        while True:
            if until():
                return
            await asyncio.sleep(0.001)
