"""What the fleet cycle writes: one assignment per object whose assignment or scaling record changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from gpufleet.state import decision

TAKEN, GIVEN, TOLD = range(3)
"""Ranks: what ends or moves, what starts or grows, and what only says why somebody goes on waiting."""


@dataclasses.dataclass(frozen=True, slots=True)
class Assignment:
    """A new `status.assignment` of one object; `value` is its JSON form.

    `autoscaling` is that of `status.autoscaling`, None where the object is not scaled by load; `events` tell
    of the decision in it. With a `resource_version` it is written only if the object has not changed since.
    Nothing is written before all that has a lower rank: what is taken is not given before.
    """

    kind: str
    namespace: str
    name: str
    uid: str
    value: Mapping[str, Any]
    autoscaling: Mapping[str, Any] | None = None
    events: tuple[decision.Event, ...] = ()
    resource_version: str = ""
    rank: int = TAKEN
