from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
import pytest

from gpufleet.cli import about, reach, why
from tests import builders
from tests.builders import NOW

ENTRY = {"namespace": "default", "name": "llm", "position": 2, "reason": "Reserved", "message": "it waits"}
KNOWN = {**ENTRY, "etaSeconds": 5400, "basis": "default/a ends by then", "wouldEnd": []}
UNKNOWN = {
    **ENTRY,
    "etaSeconds": None,
    "basis": "nobody knows when default/a ends",
    "wouldEnd": ["default/b"],
}


def make(
    workers: int = 0, reason: str = "InsufficientCapacity", message: str = "it needs more", **more: Any
) -> Any:
    given = {"workers": workers, "requested": "none", "reason": reason, "message": message}
    conditions = [builders.make_condition("Succeeded", "Unknown", reason or "Running", message).to_wire()]
    return builders.make_job(status={"assignment": given, "conditions": conditions, **more})


def answering(*jobs: Any, status: int = 200) -> about.Ask:
    def ask(path: str, query: Mapping[str, str]) -> reach.Answer:
        assert path == "/queue"
        return status, {"jobs": list(jobs), "message": "no"}

    return ask


def say(job: Any, ask: about.Ask) -> str:
    return "\n".join(why.tell(job, *why.find_entry(job, ask), NOW))


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        pytest.param(KNOWN, ["number 2", "about 2 h", "default/a ends by then."], id="an estimate"),
        pytest.param(UNKNOWN, ["not known: nobody knows", "would end or shrink default/b"], id="none"),
        pytest.param({**KNOWN, "name": "other"}, ["no gang of this name waits"], id="not in the queue"),
    ],
)
def test_a_gang_that_waits(entry: dict[str, Any], words: list[str]) -> None:
    said = say(make(), answering(entry))
    assert [word for word in words if word not in said] == []
    assert "docs/runbooks/training/InsufficientCapacity.md" in said
    assert "InsufficientCapacity, since 1 min ago.\n  it needs more." in said


def test_without_the_operator_status_is_told() -> None:
    def ask(path: str, query: Mapping[str, str]) -> reach.Answer:
        raise reach.UnreachableError("nobody answers")

    said = say(make(), ask)
    assert "it needs more" in said
    assert "not known: nobody answers." in said


def test_a_gang_that_runs_asks_nobody() -> None:
    record = {"attempt": 1, "endedBy": "Preempted", "message": "for x", "endTime": NOW.isoformat()}
    said = say(make(3, "Shrunk", "one went", history=[record]), answering(status=500))
    assert "It may run with 3 workers.\n  Shrunk: one went." in said
    assert "Attempt 1 ended 0 s ago, Preempted: for x" in said


@pytest.mark.parametrize("words", [("llm",), ("tsvc/llm",), ("tjob/",), ("tjob", "a", "b"), ("tjob/a/b",)])
def test_what_is_no_job_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(click.UsageError):
        why.parse_subject(words)


def test_a_job_by_its_names() -> None:
    assert {why.parse_subject(one) for one in (("tjob/llm",), ("TrainingJob", "llm"))} == {"llm"}
