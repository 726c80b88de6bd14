"""What the API server showed last, by name: between the informers and whoever reads the fleet.

Own writes overlay what the watch has shown so far, or a fast pass would book the same GPU twice.
"""

from __future__ import annotations

import bisect
import collections
import dataclasses
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, Generic, TypeVar

Raw = dict[str, Any]
Key = tuple[str, str]
T = TypeVar("T")

REMOVED_KEPT = 4096
"""Removed objects that are remembered, against answers to writes that come later than the removal."""


@dataclasses.dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """A held object, and the identity and version of what it was decoded from."""

    uid: str
    resource_version: str
    value: T


def key_of(raw: Raw) -> Key:
    """(namespace, name); the namespace of cluster-scoped objects is empty."""
    return raw["metadata"].get("namespace", ""), raw["metadata"]["name"]


def is_newer(version: str, held: str) -> bool:
    """Whether a resourceVersion is later than another of the same kind; those that are no numbers differ."""
    if version.isdecimal() and held.isdecimal():
        return int(version) > int(held)
    return version != held


class Store(Generic[T]):
    """Objects of one kind, decoded by `decode` (None: not of interest), grouped by `groups_of`."""

    def __init__(
        self,
        decode: Callable[[Raw], T | None],
        groups_of: Callable[[T], Iterable[Hashable]] = lambda _: (),
        on_change: Callable[[T], None] = lambda _: None,
    ) -> None:
        self._decode = decode
        self._groups_of = groups_of
        self._on_change = on_change
        self._entries: dict[Key, Entry[T]] = {}
        self._sorted: list[Key] = []
        self._groups: dict[Hashable, dict[Key, None]] = {}
        self._hidden: set[str] = set()
        self._removed: collections.OrderedDict[str, str] = collections.OrderedDict()
        self._newer_than_list: set[str] = set()
        self.revision = 0
        """Grows with every change, so that what is computed from the store can be kept."""

    def put(self, raw: Raw) -> bool:
        """Takes a newer version; whether that changed anything that is held."""
        held = self._entries.get(key_of(raw))
        uid, version = raw["metadata"]["uid"], raw["metadata"].get("resourceVersion", "")
        self._newer_than_list.discard(uid)
        removed_at = self._removed.get(uid)
        if removed_at is not None and not is_newer(version, removed_at):
            return False
        if held and not is_newer(version, held.resource_version):
            return False
        return self._replace(raw)

    def put_own(self, raw: Raw) -> bool:
        """Takes what a list that is under way may lack: the answer to a write, the word of another stream."""
        changed = self.put(raw)
        self._newer_than_list.add(raw["metadata"]["uid"])
        return changed

    def remove(self, namespace: str, name: str, uid: str, version: str = "") -> bool:
        """Forgets the object if it is still that one, as the watch has confirmed; whether it was held.

        With the `version` of its end, what is older never brings it back: the answer to a write may arrive
        after the watch has told of the deletion. An object that only left the selection may come back newer.
        """
        if version:
            self._removed[uid] = version
            if len(self._removed) > REMOVED_KEPT:
                self._removed.popitem(last=False)
        self._hidden.discard(uid)
        self._newer_than_list.discard(uid)
        held = self._entries.get((namespace, name))
        if held is None or held.uid != uid:
            return False
        self._drop((namespace, name))
        return True

    def remember_deleted(self, uid: str) -> None:
        """Hides an object that we have deleted until the watch or a list has confirmed it."""
        self._hidden.add(uid)
        self._newer_than_list.add(uid)
        self.revision += 1

    def begin_relist(self) -> None:
        """To be called before a list is asked for: own writes after this overrule it."""
        self._newer_than_list = set()

    def replace_all(self, raws: Iterable[Raw]) -> tuple[int, int]:
        """Takes a whole list, even where versions have gone back (a restored backup): changed, deleted."""
        listed: dict[Key, str] = {}
        changed = 0
        for raw in raws:
            listed[key_of(raw)] = raw["metadata"]["uid"]
            changed += self.take_listed(raw)
        return changed, self.end_relist(listed)

    def take_listed(self, raw: Raw) -> bool:
        """Takes one item of the list that is under way; whether that changed anything."""
        uid = raw["metadata"]["uid"]
        if uid in self._newer_than_list:
            return self.put(raw)
        self._hidden.discard(uid)
        self._removed.pop(uid, None)
        held = self._entries.get(key_of(raw))
        if held and (held.uid, held.resource_version) == (uid, raw["metadata"].get("resourceVersion", "")):
            return False
        return self._replace(raw)

    def end_relist(self, listed: dict[Key, str]) -> int:
        """Drops what the list lacked (`listed` is UID by key); how many those were."""
        gone = [
            key
            for key, entry in self._entries.items()
            if listed.get(key) != entry.uid and entry.uid not in self._newer_than_list
        ]
        for key in gone:
            self._drop(key)
        self._hidden &= self._newer_than_list | set(listed.values())
        return len(gone)

    def get(self, namespace: str, name: str) -> T | None:
        entry = self.entry(namespace, name)
        return entry.value if entry else None

    def entry(self, namespace: str, name: str) -> Entry[T] | None:
        """The object with its identity; None where it is not held or hidden."""
        entry = self._entries.get((namespace, name))
        return entry if entry and entry.uid not in self._hidden else None

    def group(self, group: Hashable) -> list[T]:
        """The objects of one group, sorted by namespace and name."""
        keys = sorted(self._groups.get(group, ()))
        return [entry.value for key in keys if (entry := self.entry(*key))]

    def sorted_keys(self) -> list[Key]:
        """(namespace, name) of all objects."""
        if self._hidden:
            return [key for key in self._sorted if self._entries[key].uid not in self._hidden]
        return self._sorted.copy()

    def groups(self) -> list[Hashable]:
        """Those that have an object, hidden or not; in no order."""
        return [*self._groups]

    def entries(self) -> Iterator[Entry[T]]:
        """All objects, sorted by namespace and name."""
        return (self._entries[key] for key in self.sorted_keys())

    def __len__(self) -> int:
        return len(self._entries)

    def _replace(self, raw: Raw) -> bool:
        key, value = key_of(raw), self._decode(raw)
        held = self._entries.get(key)
        if value is None:
            return self._drop(key) if held else False
        metadata = raw["metadata"]
        if "deletionTimestamp" in metadata:
            self._hidden.discard(metadata["uid"])
        self._unlink(key)
        if held is None:
            bisect.insort(self._sorted, key)
        self._entries[key] = Entry(metadata["uid"], metadata.get("resourceVersion", ""), value)
        for group in self._groups_of(value):
            self._groups.setdefault(group, {})[key] = None
        if held and held.uid == metadata["uid"] and held.value == value:
            return False
        return self._tell(value)

    def _drop(self, key: Key) -> bool:
        self._unlink(key)
        del self._sorted[bisect.bisect_left(self._sorted, key)]
        return self._tell(self._entries.pop(key).value)

    def _unlink(self, key: Key) -> None:
        held = self._entries.get(key)
        for group in self._groups_of(held.value) if held else ():
            members = self._groups.get(group, {})
            members.pop(key, None)
            if not members:
                self._groups.pop(group, None)

    def _tell(self, value: T) -> bool:
        self.revision += 1
        self._on_change(value)
        return True
