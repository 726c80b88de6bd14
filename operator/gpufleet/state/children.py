"""What gpufleet has created for an object, as the API server shows it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple


class ChildRef(NamedTuple):
    """Identifies a child within its owner's namespace."""

    kind: str
    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Child:
    """A live object; `body` is its raw JSON and must not be changed."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str
    owner_uid: str
    body: Mapping[str, Any]

    @property
    def ref(self) -> ChildRef:
        return ChildRef(self.kind, self.name)

    @property
    def labels(self) -> Mapping[str, str]:
        labels: Mapping[str, str] = self.body["metadata"].get("labels") or {}
        return labels

    @property
    def is_deleting(self) -> bool:
        return "deletionTimestamp" in self.body["metadata"]
