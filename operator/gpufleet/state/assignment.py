"""What the fleet cycle writes: one assignment per object whose assignment changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True)
class Assignment:
    """A new `status.assignment` of one object; `value` is its JSON form."""

    kind: str
    namespace: str
    name: str
    uid: str
    value: Mapping[str, Any]
