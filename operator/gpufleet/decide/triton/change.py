"""What a new configuration means for a model that runs.

Only instance groups and the version policy change without a reload (Triton's ConfigChangeRequiresReload);
anything else loads a second copy beside the one that serves, so its memory doubles until the swap.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator, Mapping
from typing import Any

LIVE_FIELDS = frozenset({"instance_group", "version_policy"})

Entry = Mapping[str, Any]
"""One model of the agents' list, as `serving.models.build_wanted` makes it."""


class Effect(enum.StrEnum):
    """What becomes of the model."""

    LOAD = "load"
    UNLOAD = "unload"
    LIVE = "live"
    RELOAD = "reload"


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """One difference; `field` is empty where the model as a whole comes or goes."""

    model: str
    effect: Effect
    field: str = ""
    before: Any = None
    after: Any = None


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Every difference between two lists of wanted models, by model and field."""
    before = {entry["name"]: entry for entry in old.get("models", ())}
    after = {entry["name"]: entry for entry in new.get("models", ())}
    changes: list[Change] = []
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            changes.append(Change(name, Effect.LOAD))
        elif name not in after:
            changes.append(Change(name, Effect.UNLOAD))
        else:
            changes += _compare_one(name, before[name], after[name])
    return changes


def _compare_one(name: str, before: Entry, after: Entry) -> Iterator[Change]:
    old, new = before.get("config"), after.get("config")
    if old is None or new is None:
        if old != new:
            yield Change(name, Effect.RELOAD, "config", old and "given here", new and "given here")
        return
    for field in sorted(old.keys() | new.keys()):
        if old.get(field) != new.get(field):
            effect = Effect.LIVE if field in LIVE_FIELDS else Effect.RELOAD
            yield Change(name, effect, field, old.get(field), new.get(field))
