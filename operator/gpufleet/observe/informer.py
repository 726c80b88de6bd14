"""Keeps a store equal to one collection: a chunked list, then a watch, for ever.

A collection may be that of a few namespaces: they are listed one after the other and watched side by side.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from gpufleet import clock, kube
from gpufleet.observe import store

PAGE = 100
"""Objects per answer. Larger pages cost memory that the process never gives back: 48 MiB more at 500."""
FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 20.0
SHORT_WATCH_S = 1.0
"""A stream that the server ends sooner than this was no watch: the next one waits as after an error."""

_log = logging.getLogger(__name__)


class Informer:
    """Lists and watches one kind into `target`, in these namespaces; the empty name stands for all."""

    def __init__(
        self,
        client: kube.Client,
        api_version: str,
        kind: str,
        target: store.Store[Any],
        label_selector: str = "",
        time_source: clock.Clock | None = None,
        field_selector: str = "",
        namespaces: Sequence[str] = ("",),
    ) -> None:
        self.kind = kind
        self.synced = asyncio.Event()
        self.exists = False
        """Whether the cluster has this kind, as of the last list."""
        self._client = client
        self._paths = [kube.path(api_version, kind, namespace) for namespace in namespaces]
        self._target = target
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        self._query = {name: value for name, value in selectors.items() if value}
        self._type = {"apiVersion": api_version, "kind": kind}
        self._clock = time_source or clock.SystemClock()
        self._sound_s = self._clock.monotonic_s()
        self._versions: dict[str, str] = {}
        self._backoff_s = FIRST_BACKOFF_S

    def age_s(self) -> float:
        """Seconds since the API server last told us anything about this collection."""
        return self._clock.monotonic_s() - self._sound_s

    async def run(self) -> None:
        """Runs until cancelled; every error of the API server is waited out."""
        while True:
            try:
                if not self._versions:
                    await self._relist()
                if await self._follow() >= SHORT_WATCH_S:
                    self._backoff_s = FIRST_BACKOFF_S
                    continue
            except kube.Gone:
                _log.info("watch of %s is too old; listing again", self.kind)
                self._versions = {}
            except kube.NotFound:
                self._forget_all()
            except kube.ApiError as error:
                _log.warning("watching %s: %s; again in %.1f s", self.kind, error, self._backoff_s)
                if self._backoff_s >= LONGEST_BACKOFF_S:
                    # It may be the version itself that fails, as one that is ahead of a restored etcd does.
                    self._versions = {}
            await asyncio.sleep(self._backoff_s)
            self._backoff_s = min(LONGEST_BACKOFF_S, self._backoff_s * 2)

    async def _relist(self) -> None:
        self._target.begin_relist()
        listed: dict[store.Key, str] = {}
        versions = {path: await self._list(path, listed) for path in self._paths}
        self._target.end_relist(listed)
        self.exists = True
        self._versions = versions
        self.synced.set()

    async def _list(self, path: str, listed: dict[store.Key, str]) -> str:
        """Takes every page and notes in `listed` what was there; the version from which to watch."""
        token = ""
        while True:
            following: dict[str, Any] = self._query | ({"continue_": token} if token else {})
            page = await self._client.list(path, limit=PAGE, **following)
            self._heard()
            for item in page["items"] or ():
                listed[store.key_of(item)] = item["metadata"]["uid"]
                self._target.take_listed(self._type | item)
            await asyncio.sleep(0)
            if not (token := page["metadata"].get("continue", "")):
                version: str = page["metadata"]["resourceVersion"]
                return version

    async def _follow(self) -> float:
        """Takes events until the server ends a stream, as it does every few minutes; how long that was."""
        started_s = self._clock.monotonic_s()
        streams = [asyncio.create_task(self._take_events(path)) for path in self._paths]
        try:
            ended, _ = await asyncio.wait(streams, return_when=asyncio.FIRST_COMPLETED)
            for stream in ended:
                stream.result()
        finally:
            for stream in streams:
                stream.cancel()
            await asyncio.gather(*streams, return_exceptions=True)
        return self._clock.monotonic_s() - started_s

    async def _take_events(self, path: str) -> None:
        query: dict[str, Any] = self._query | {"resourceVersion": self._versions[path]}
        async for event in self._client.watch(path, on_open=self._heard, **query):
            self._heard()
            metadata = event["object"]["metadata"]
            if event["type"] in ("ADDED", "MODIFIED"):
                self._target.put(event["object"])
            elif event["type"] == "DELETED":
                key = store.key_of(event["object"])
                self._target.remove(*key, metadata["uid"], metadata["resourceVersion"])
            self._versions[path] = metadata["resourceVersion"]
            self._backoff_s = FIRST_BACKOFF_S

    def _heard(self) -> None:
        self._sound_s = self._clock.monotonic_s()

    def _forget_all(self) -> None:
        """A kind that does not exist (yet) has no objects."""
        self._heard()
        self.exists = False
        self._target.begin_relist()
        self._target.end_relist({})
        self._versions = {}
        self.synced.set()
