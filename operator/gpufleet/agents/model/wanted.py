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
    """One model; `config` is the load request's configuration as JSON, empty for the repository's own."""

    name: str
    config: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """The whole list and the revision by which the operator knows it."""

    revision: str = ""
    models: tuple[WantedModel, ...] = ()


def parse(text: str) -> Wanted:
    """Reads the file's text. Raises ValueError where it is not such a list."""
    try:
        document: Mapping[str, Any] = json.loads(text)
        models = tuple(
            WantedModel(
                str(one["name"]), json.dumps(one["config"], sort_keys=True) if one.get("config") else ""
            )
            for one in document["models"]
        )
        return Wanted(str(document["revision"]), models)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a list of models: {error!r}") from error


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

    def note_loaded(self, fingerprint: str) -> None:
        self.loaded, self.failed, self.message, self.failures = fingerprint, "", "", 0

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
        if one.name not in busy and entries.get(one.name, Entry()).is_due(marks[one.name], now_s)
    )
    return Plan(tuple(sorted(set(running) - names - set(busy))), tuple(due))


def report(
    wanted: Wanted, entries: Mapping[str, Entry], marks: Mapping[str, str]
) -> list[state_models.ModelReport]:
    """Each wanted model; `marks` has its present fingerprint."""
    return [_report_one(one.name, entries.get(one.name, Entry()), marks[one.name]) for one in wanted.models]


def _report_one(name: str, entry: Entry, mark: str) -> state_models.ModelReport:
    """A copy from before goes on answering while the next one loads."""
    if entry.failed == mark:
        return state_models.ModelReport(name, "Failed", entry.message)
    return state_models.ModelReport(name, "Ready" if entry.loaded else "Loading")


def is_settled(wanted: Wanted, entries: Mapping[str, Entry], marks: Mapping[str, str]) -> bool:
    """Whether every model was tried as it is wanted now."""
    known = ((entries.get(one.name, Entry()), marks[one.name]) for one in wanted.models)
    return all(mark in (entry.loaded, entry.failed) for entry, mark in known)


def is_ready(
    wanted: Wanted, entries: Mapping[str, Entry], marks: Mapping[str, str], *, was_ready: bool
) -> bool:
    """Whether traffic may come.

    At first every model must have been tried and one must serve: one broken model must not keep the others
    from their callers. Later a model that is being added or reloaded takes nothing away from the rest.
    """
    known = [entries.get(one.name, Entry()) for one in wanted.models]
    if not any(entry.loaded for entry in known):
        return False
    tried = all(
        entry.loaded or entry.failed == marks[one.name]
        for one, entry in zip(wanted.models, known, strict=True)
    )
    return was_ready or tried
