"""Thousands of objects made and followed by one client, for benchmarks against a real API server."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeVar

from kubernetes import aio

from gpufleet import kube, settings

T = TypeVar("T")

AT_A_TIME = 16
"""Requests that are under way at the same time."""


@contextlib.asynccontextmanager
async def connect(kubeconfig: pathlib.Path) -> AsyncIterator[kube.Client]:
    """A client whose own ceiling of writes is not what is measured."""
    options = settings.Settings(write_rate_per_s=2000.0, request_timeout_s=60.0)
    configuration = aio.client.Configuration()
    await aio.config.load_kube_config(str(kubeconfig), client_configuration=configuration)
    client = kube.Client(aio.client.ApiClient(configuration=configuration), options)
    try:
        yield client
    finally:
        await client.close()


async def do_all(
    items: Iterable[T], do: Callable[[T], Awaitable[object]], at_a_time: int = AT_A_TIME
) -> None:
    """`do` for each item in their order, so many at a time."""
    left = iter(items)

    async def work() -> None:
        for item in left:
            await do(item)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_a_time):
            tasks.create_task(work())


async def follow(client: kube.Client, path: str, note: Callable[[dict[str, Any]], None]) -> None:
    """Tells of every object of a collection that is new or has changed, until cancelled."""
    while True:
        listed = await client.list(path)
        for one in listed["items"]:
            note(one)
        version = listed["metadata"]["resourceVersion"]
        with contextlib.suppress(kube.Gone, kube.Unavailable):
            async for event in client.watch(path, resourceVersion=version):
                if event["type"] in ("ADDED", "MODIFIED"):
                    note(event["object"])
