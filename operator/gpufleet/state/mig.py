"""Layouts of a node's GPUs, and the record of a change that stands on the Node."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import json
from collections.abc import Mapping
from typing import Any, Literal

Counts = tuple[tuple[str, int], ...]
"""Slices per profile, by name; none with zero."""

Phase = Literal["Fenced", "Applying", "RollingBack", "HandedOver"]
PHASES = ("Fenced", "Applying", "RollingBack", "HandedOver")


class RecordError(ValueError):
    """An annotation of ours that somebody else has written."""


def counts_of(slices: Mapping[str, int]) -> Counts:
    """The same counts are the same value."""
    return tuple(sorted((name, number) for name, number in slices.items() if number))


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """Slices of each GPU by index; None: MIG is off there."""

    gpus: tuple[tuple[int, Counts | None], ...] = ()

    @classmethod
    def of(cls, gpus: Mapping[int, Mapping[str, int] | None]) -> Layout:
        return cls(
            tuple(
                (index, None if slices is None else counts_of(slices))
                for index, slices in sorted(gpus.items())
            )
        )

    @property
    def by_index(self) -> dict[int, Counts | None]:
        return dict(self.gpus)

    @property
    def totals(self) -> dict[str, int]:
        """Slices per profile over all GPUs."""
        found: collections.Counter[str] = collections.Counter()
        for _, slices in self.gpus:
            found.update(dict(slices or ()))
        return dict(sorted(found.items()))

    def changed_from(self, before: Layout) -> frozenset[int]:
        """GPUs that are not the same in both."""
        old, new = before.by_index, self.by_index
        missing = object()
        return frozenset(
            index for index in old.keys() | new.keys() if old.get(index, missing) != new.get(index, missing)
        )

    def switched_from(self, before: Layout) -> frozenset[int]:
        """GPUs whose MIG mode is not the same in both."""
        old, new = before.by_index, self.by_index
        both = old.keys() & new.keys()
        return frozenset(index for index in both if (old[index] is None) != (new[index] is None))

    def to_wire(self) -> dict[str, dict[str, int] | None]:
        return {str(index): None if slices is None else dict(slices) for index, slices in self.gpus}

    @classmethod
    def from_wire(cls, wire: Any) -> Layout:
        """Raises RecordError."""
        try:
            return cls.of({int(index): slices for index, slices in wire.items()})
        except (AttributeError, TypeError, ValueError) as error:
            raise RecordError(f"{wire!r} is no layout") from error


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """What a node is to be, and the configuration that says so."""

    layout: Layout
    config: str

    def to_text(self) -> str:
        return _dump({"config": self.config, "gpus": self.layout.to_wire()})

    @classmethod
    def from_text(cls, text: str) -> Wanted:
        """Raises RecordError."""
        wire = _load(text)
        return cls(Layout.from_wire(wire.get("gpus")), str(wire.get("config", "")))


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """A change that is under way; it holds all that is to be known to go on with it.

    `back` is None where nobody knew the layout before. `label_before` is what the node's label said.
    `published` is when both configurations were first seen in the ConfigMap, `agreed` since when state,
    instances and what the node offers have all said that it is done.
    """

    phase: Phase
    pool: str
    to: Layout
    config: str
    back: Layout | None
    back_config: str
    label_before: str
    began: datetime.datetime
    since: datetime.datetime
    published: datetime.datetime | None = None
    agreed: datetime.datetime | None = None
    boot_id: str = ""
    attempt: int = 1
    trouble: str = ""
    """Reason of a rollback or a hand-over."""
    affected: int = 0
    """GPUs that it takes away while it is carried out; 0: those that differ."""

    @property
    def target(self) -> Layout | None:
        """What the node is being brought to now."""
        return self.back if self.phase == "RollingBack" else self.to

    @property
    def token(self) -> str:
        """With what the node agent is asked to look again once the node is fenced."""
        return f"{self.config}-{_stamp(self.began)}"

    @property
    def label(self) -> str:
        """What the node's label is to say in this phase."""
        return {"Fenced": self.label_before, "RollingBack": self.back_config}.get(self.phase, self.config)

    @property
    def touched(self) -> frozenset[int]:
        """GPUs that change; those of the node where it is not known what there was."""
        return self.to.changed_from(self.back or Layout())

    @property
    def gpus(self) -> int:
        """How many GPUs it takes away for a while."""
        return self.affected or len(self.touched)

    def to_text(self) -> str:
        wire = {
            "phase": self.phase,
            "pool": self.pool,
            "to": self.to.to_wire(),
            "config": self.config,
            "back": None if self.back is None else self.back.to_wire(),
            "backConfig": self.back_config,
            "labelBefore": self.label_before,
            "began": _stamp(self.began),
            "since": _stamp(self.since),
            "published": None if self.published is None else _stamp(self.published),
            "agreed": None if self.agreed is None else _stamp(self.agreed),
            "bootID": self.boot_id,
            "attempt": self.attempt,
            "trouble": self.trouble,
            "affected": self.affected,
        }
        return _dump({key: value for key, value in wire.items() if value is not None})

    @classmethod
    def from_text(cls, text: str) -> Change:
        """Raises RecordError."""
        wire = _load(text)
        try:
            phase = wire["phase"]
            if phase not in PHASES:
                raise RecordError(f"there is no phase {phase!r}")
            return cls(
                phase=phase,
                pool=str(wire.get("pool", "")),
                to=Layout.from_wire(wire["to"]),
                config=str(wire["config"]),
                back=Layout.from_wire(wire["back"]) if wire.get("back") is not None else None,
                back_config=str(wire.get("backConfig", "")),
                label_before=str(wire.get("labelBefore", "")),
                began=_moment(wire["began"]),
                since=_moment(wire["since"]),
                published=_moment(wire["published"]) if wire.get("published") else None,
                agreed=_moment(wire["agreed"]) if wire.get("agreed") else None,
                boot_id=str(wire.get("bootID", "")),
                attempt=int(wire.get("attempt", 1)),
                trouble=str(wire.get("trouble", "")),
                affected=int(wire.get("affected", 0)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(f"not a change of ours: {error}") from error


@dataclasses.dataclass(frozen=True, slots=True)
class Hold:
    """A node that no change may begin on until a time, after so many attempts in a row."""

    until: datetime.datetime
    attempts: int
    reason: str

    def to_text(self) -> str:
        return _dump({"until": _stamp(self.until), "attempts": self.attempts, "reason": self.reason})

    @classmethod
    def from_text(cls, text: str) -> Hold:
        """Raises RecordError."""
        wire = _load(text)
        try:
            return cls(_moment(wire["until"]), int(wire["attempts"]), str(wire.get("reason", "")))
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(f"not a hold of ours: {error}") from error


@dataclasses.dataclass(frozen=True, slots=True)
class Cut:
    """GPUs of a node that a change took away, from this moment on."""

    at: datetime.datetime
    gpus: int


@dataclasses.dataclass(frozen=True, slots=True)
class Cuts:
    """Those of a node that are not long ago."""

    made: tuple[Cut, ...] = ()

    def has(self, change: Change) -> bool:
        """Whether the change is among them; a node has one at a time."""
        return any(one.at >= change.began for one in self.made)

    def note(self, change: Change, now: datetime.datetime, since: datetime.datetime) -> Cuts:
        """With the change, once; without what was before `since`."""
        kept = tuple(one for one in self.made if one.at > since)
        return Cuts(kept) if self.has(change) else Cuts((*kept, Cut(now, change.gpus)))

    def to_text(self) -> str:
        return _dump({"made": [{"at": _stamp(one.at), "gpus": one.gpus} for one in self.made]})

    @classmethod
    def from_text(cls, text: str) -> Cuts:
        """Raises RecordError."""
        wire = _load(text)
        try:
            made = tuple(Cut(_moment(one["at"]), max(0, int(one["gpus"]))) for one in wire["made"])
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(f"not cuts of ours: {error}") from error
        return cls(made)


NO_CUTS = Cuts()


def _dump(wire: Mapping[str, Any]) -> str:
    return json.dumps(wire, separators=(",", ":"))


def _load(text: str) -> dict[str, Any]:
    try:
        wire = json.loads(text)
    except ValueError as error:
        raise RecordError(f"not JSON: {error}") from error
    if not isinstance(wire, dict):
        raise RecordError("no JSON object")
    return wire


def _stamp(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")


def _moment(text: str) -> datetime.datetime:
    read = datetime.datetime.fromisoformat(text)
    if read.tzinfo is None:
        raise RecordError(f"{text!r} has no time zone")
    return read
