"""The list of wanted models and what became of each; pure, so that every case is a row of a table."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from gpufleet.state import models as state_models

FIRST_RETRY_S = 1.0
LAST_RETRY_S = 60.0


@dataclasses.dataclass(frozen=True, slots=True)
class WantedModel:
    """One model; `config` is the load request's configuration as JSON, empty for the repository's own.

    `after` are the models that it is made of: an ensemble cannot be loaded before them. A `measured` one is
    counted for the operator.
    """

    name: str
    config: str = ""
    after: tuple[str, ...] = ()
    measured: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """The whole list and the revision by which the operator knows it."""

    revision: str = ""
    models: tuple[WantedModel, ...] = ()


def parse(text: str, pod: str = "") -> Wanted:
    """Reads the file's text as it is meant for this pod. Raises ValueError where it is not such a list."""
    try:
        document: Mapping[str, Any] = json.loads(text)
        return Wanted(str(document["revision"]), tuple(_parse_one(one, pod) for one in document["models"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a list of models: {error!r}") from error


def _parse_one(one: Mapping[str, Any], pod: str) -> WantedModel:
    trial = one.get("trial", {})
    wanted = trial["config"] if pod and trial.get("pod") == pod else one.get("config")
    return WantedModel(
        name=str(one["name"]),
        config=json.dumps(wanted, sort_keys=True) if wanted else "",
        after=tuple(str(name) for name in one.get("after", ())),
        measured=bool(one.get("measured", False)),
    )


def fingerprint(model: WantedModel, files: str) -> str:
    """Changes when the model must be loaded again: a new configuration, or new files of the repository."""
    return hashlib.sha256(f"{model.config}\0{files}".encode()).hexdigest()[:16]


@dataclasses.dataclass(slots=True)
class Entry:
    """What the agent knows of one model: what it loaded, and how the last attempt ended."""

    loaded: str = ""
    failed: str = ""
    message: str = ""
    failures: int = 0
    retry_at_s: float = 0.0
    load_ms: int | None = None

    def note_loaded(self, fingerprint: str, load_ms: int | None = None) -> None:
        self.loaded, self.failed, self.message, self.failures = fingerprint, "", "", 0
        self.load_ms = load_ms

    def note_failed(self, fingerprint: str, message: str, now_s: float) -> None:
        """The copy that was loaded before, if any, still serves."""
        self.failures = self.failures + 1 if self.failed == fingerprint else 1
        self.failed, self.message = fingerprint, message
        self.retry_at_s = now_s + min(LAST_RETRY_S, FIRST_RETRY_S * 2 ** (self.failures - 1))

    def is_due(self, fingerprint: str, now_s: float) -> bool:
        """Whether this state of the model is to be loaded now."""
        if self.loaded == fingerprint:
            return False
        return self.failed != fingerprint or now_s >= self.retry_at_s


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What is to be asked of the server now."""

    unload: tuple[str, ...] = ()
    load: tuple[WantedModel, ...] = ()


def plan(
    wanted: Wanted,
    entries: Mapping[str, Entry],
    marks: Mapping[str, str],
    running: Collection[str],
    busy: Collection[str],
    now_s: float,
) -> Plan:
    """Unloads what nobody wants and loads what is due; a model that is `busy` loading is let finish first."""
    names = {one.name for one in wanted.models}
    due = (
        one
        for one in wanted.models
        if one.name not in busy
        and entries.get(one.name, Entry()).is_due(marks[one.name], now_s)
        and all(_is_tried(part, entries, marks) for part in one.after)
        and not find_missing(one, entries, marks)
    )
    return Plan(tuple(sorted(set(running) - names - set(busy))), tuple(due))


def _is_tried(name: str, entries: Mapping[str, Entry], marks: Mapping[str, str]) -> bool:
    """Whether the model was loaded, or refused, as it is wanted now."""
    entry = entries.get(name, Entry())
    return marks.get(name) in (entry.loaded, entry.failed)


def find_missing(one: WantedModel, entries: Mapping[str, Entry], marks: Mapping[str, str]) -> str:
    """The first model that `one` is made of and that could not be loaded; empty where there is none."""
    failed = (part for part in one.after if _is_tried(part, entries, marks) and not entries[part].loaded)
    return next(failed, "")


def report(
    wanted: Wanted, entries: Mapping[str, Entry], marks: Mapping[str, str], running: Mapping[str, str]
) -> list[state_models.ModelReport]:
    """Each wanted model; `marks` has its present fingerprint, `running` the versions that answer."""
    return [
        dataclasses.replace(
            _report_one(one, entries, marks),
            versions=running.get(one.name, ""),
            load_ms=entries[one.name].load_ms if one.name in entries else None,
        )
        for one in wanted.models
    ]


def _report_one(
    one: WantedModel, entries: Mapping[str, Entry], marks: Mapping[str, str]
) -> state_models.ModelReport:
    """A copy from before goes on answering while the next one loads."""
    entry = entries.get(one.name, Entry())
    if entry.failed == marks[one.name]:
        return state_models.ModelReport(one.name, "Failed", entry.message)
    if missing := find_missing(one, entries, marks):
        return state_models.ModelReport(one.name, "Failed", f"its model {missing} is not loaded")
    return state_models.ModelReport(one.name, "Ready" if entry.loaded else "Loading")


def is_settled(wanted: Wanted, entries: Mapping[str, Entry], marks: Mapping[str, str]) -> bool:
    """Whether every model was tried as it is wanted now, or cannot be."""
    return all(
        _is_tried(one.name, entries, marks) or find_missing(one, entries, marks) for one in wanted.models
    )


def is_ready(
    wanted: Wanted, entries: Mapping[str, Entry], marks: Mapping[str, str], *, was_ready: bool
) -> bool:
    """Whether traffic may come.

    At first every model must have been tried and one must serve: one broken model must not keep the others
    from their callers. Later a model that is being added or reloaded takes nothing away from the rest.
    """
    loaded = [bool(entries.get(one.name, Entry()).loaded) for one in wanted.models]
    if not any(loaded):
        return False
    tried = all(
        is_loaded or _is_tried(one.name, entries, marks) or find_missing(one, entries, marks)
        for one, is_loaded in zip(wanted.models, loaded, strict=True)
    )
    return was_ready or tried
