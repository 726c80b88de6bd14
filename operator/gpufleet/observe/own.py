"""One of our own kinds: raw objects from kopf's watch, parsed once per version.

kopf does not compare a relist with what it knew, so an object deleted during a gap would stay for ever:
a list of metadata finds such ghosts, and whatever else its watch has missed.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Generic, TypeVar

import pydantic

from gpufleet import clock, kube
from gpufleet.api import meta
from gpufleet.observe import store

M = TypeVar("M", bound=pydantic.BaseModel)
Key = tuple[str, str, str]

_PAGE = 500

_log = logging.getLogger(__name__)


def without_managed_fields(raw: store.Raw) -> store.Raw:
    """The object without the field managers' records, which nobody reads and which are half its size."""
    metadata = {name: value for name, value in raw["metadata"].items() if name != "managedFields"}
    return raw | {"metadata": metadata}


class OwnKind(Generic[M]):
    """The objects of one kind; `on_dirty` is called with the key of each that changes."""

    def __init__(
        self,
        kind: str,
        model: type[M],
        on_dirty: Callable[[Key], None],
        time_source: clock.Clock | None = None,
        namespaces: Sequence[str] = ("",),
    ) -> None:
        self.kind = kind
        self.store: store.Store[store.Raw] = store.Store(
            without_managed_fields,
            on_change=self._note_change,
        )
        self._on_dirty = on_dirty
        self._model = model
        self._paths = [kube.path(meta.API_VERSION, kind, namespace) for namespace in namespaces]
        self._type = {"apiVersion": meta.API_VERSION, "kind": kind}
        self._parsed: dict[store.Key, M | pydantic.ValidationError] = {}
        self._stale: set[store.Key] = set()
        self._all: tuple[M, ...] | None = None
        self._clock = time_source or clock.SystemClock()
        self._sound_s = self._clock.monotonic_s()

    def age_s(self) -> float:
        """Seconds since kopf's watch or a relist told us anything."""
        return self._clock.monotonic_s() - self._sound_s

    def note_event(self, event_type: str | None, raw: store.Raw) -> None:
        """Takes one event of kopf's watch; type None is an item of its list."""
        self._sound_s = self._clock.monotonic_s()
        if event_type == "DELETED":
            metadata = raw["metadata"]
            self.store.remove(*store.key_of(raw), metadata["uid"], metadata.get("resourceVersion", ""))
        else:
            self.store.put_own(self._type | raw)

    def read(self, namespace: str, name: str) -> M | None:
        """The object as a model; None where there is none.

        Raises:
            pydantic.ValidationError: it does not parse.
        """
        self._parse_changed()
        parsed = self._parsed.get((namespace, name))
        if isinstance(parsed, pydantic.ValidationError):
            raise parsed
        return parsed

    def read_all(self) -> tuple[M, ...]:
        """Every object that parses, sorted by namespace and name."""
        self._parse_changed()
        if self._all is None:
            parsed = [self._parsed[key] for key in self.store.sorted_keys()]
            self._all = tuple(one for one in parsed if not isinstance(one, pydantic.ValidationError))
        return self._all

    def _note_change(self, raw: store.Raw) -> None:
        key = store.key_of(raw)
        self._stale.add(key)
        self._on_dirty((self.kind, *key))

    def _parse_changed(self) -> None:
        stale, self._stale = self._stale, set()
        if stale:
            self._all = None
        for key in stale:
            raw = self.store.get(*key)
            if raw is None:
                self._parsed.pop(key, None)
            else:
                self._parsed[key] = self._parse(raw)

    def _parse(self, raw: store.Raw) -> M | pydantic.ValidationError:
        try:
            return self._model.model_validate(raw)
        except pydantic.ValidationError as error:
            return error

    async def sync(self, client: kube.Client) -> None:
        """Lists whole objects; raises kube.ApiError, NotFound where the kind is not installed."""
        await self._list(client, metadata_only=False)

    async def relist(self, client: kube.Client) -> None:
        """Lists metadata: drops ghosts, and gets what has changed without an event."""
        try:
            missed = await self._list(client, metadata_only=True)
        except kube.NotFound:
            # The kind was uninstalled, and all its objects with it.
            self.store.replace_all(())
            self._sound_s = self._clock.monotonic_s()
            return
        if missed:
            _log.warning(
                "the watch of %s had missed %d objects, such as %s", self.kind, len(missed), missed[0]
            )
        for namespace, name in missed:
            await self._refresh(client, namespace, name)

    async def _list(self, client: kube.Client, *, metadata_only: bool) -> list[store.Key]:
        """Keys whose listed version is not the one held, where only metadata was listed."""
        self.store.begin_relist()
        listed: dict[store.Key, str] = {}
        missed: list[store.Key] = []
        async for item in self._read_items(client, metadata_only):
            key = store.key_of(item)
            listed[key] = item["metadata"]["uid"]
            if not metadata_only:
                self.store.take_listed(self._type | item)
            elif self._has_missed(key, item["metadata"]):
                missed.append(key)
        self.store.end_relist(listed)
        self._sound_s = self._clock.monotonic_s()
        return missed

    async def _read_items(self, client: kube.Client, metadata_only: bool) -> AsyncIterator[store.Raw]:
        for path in self._paths:
            token = ""
            while True:
                following: dict[str, Any] = {"continue_": token} if token else {}
                page = await client.list(path, metadata_only=metadata_only, limit=_PAGE, **following)
                for item in page["items"] or ():
                    yield item
                if not (token := page["metadata"].get("continue", "")):
                    break

    def _has_missed(self, key: store.Key, metadata: dict[str, Any]) -> bool:
        held = self.store.entry(*key)
        if held is None or held.uid != metadata["uid"]:
            return True
        return store.is_newer(metadata["resourceVersion"], held.resource_version)

    async def _refresh(self, client: kube.Client, namespace: str, name: str) -> None:
        """Takes what the API server shows now; an object that has gone meanwhile is left to its event."""
        try:
            found = await client.get(kube.path(meta.API_VERSION, self.kind, namespace, name))
        except kube.NotFound:
            return
        self.store.put_own(self._type | found)
