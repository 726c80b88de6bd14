"""`gpufleet why`: what a TrainingJob does or waits for, and when it may start."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping
from typing import Any

import click
import pydantic

from gpufleet.api import reasons, training_job
from gpufleet.cli import about, reach, sentences

_PAGES = "docs/runbooks/training"
_PAGED = (*reasons.WITHOUT_PLACE, reasons.SHRUNK, reasons.GROWN)


@click.command()
@click.argument("subject", nargs=-1, required=True, metavar="tjob/NAME")
@about.options
def why(
    subject: tuple[str, ...],
    namespace: str | None,
    context: str | None,
    output: str,
    operator_namespace: str,
    server: str | None,
) -> None:
    """Tell what a TrainingJob waits for, or what became of it; changes nothing.

    Reasons are in its status. Its position in the queue and the estimate are asked of the operator: that
    needs the Role gpufleet-snapshot in its namespace, and without it status alone is told.
    """
    name = parse_subject(subject)
    cluster = reach.Cluster(context)
    raw = cluster.read_job(namespace or cluster.namespace, name)
    try:
        job = training_job.TrainingJob.model_validate(raw)
    except pydantic.ValidationError as error:
        raise click.ClickException(f"{name} is of another version than this command: {error}") from error

    entry, unreachable = find_entry(job, about.asking(cluster, operator_namespace, server))
    if output == "json":
        status = job.status.to_wire()
        found = {"assignment": status.get("assignment"), "queue": entry, "unreachable": unreachable or None}
        click.echo(json.dumps(found, indent=2))
        return
    now = datetime.datetime.now(datetime.UTC)
    click.echo("\n".join(tell(job, entry, unreachable, now)))


def parse_subject(words: tuple[str, ...]) -> str:
    """The name in tjob/NAME or tjob NAME. Raises click.UsageError."""
    return about.parse_subject(words, "tjob", training_job.KIND, training_job.PLURAL)


def find_entry(job: training_job.TrainingJob, ask: about.Ask) -> tuple[dict[str, Any] | None, str]:
    """(the job in the operator's queue, why nobody could be asked)"""
    if job.status.assignment and job.status.assignment.workers:
        return None, ""
    try:
        status, body = ask("/queue", {})
    except reach.UnreachableError as error:
        return None, str(error)
    if status != 200:
        return None, str(body.get("message") or f"HTTP {status}")
    own = (job.metadata.namespace, job.metadata.name)
    return next((one for one in body["jobs"] if (one["namespace"], one["name"]) == own), None), ""


def tell(
    job: training_job.TrainingJob, entry: Mapping[str, Any] | None, unreachable: str, now: datetime.datetime
) -> Iterator[str]:
    """In sentences, the state first."""
    given, name = job.status.assignment, f"{job.metadata.namespace}/{job.metadata.name}"
    said = next((one for one in job.status.conditions if one.type == reasons.SUCCEEDED), None)
    if said is not None:
        yield f"{name}: {said.reason}, since {sentences.ago(said.last_transition_time, now)}."
        yield f"  {sentences.end(said.message)}" if said.message else ""
    if given is not None and given.workers:
        yield f"It may run with {sentences.count(given.workers, 'worker')}."
        if given.message:
            yield f"  {given.reason}: {sentences.end(given.message)}"
    elif said is None or said.status == "Unknown":
        yield from _tell_queue(entry, unreachable)
    for one in job.status.history[:3]:
        told = f": {one.message}" if one.message else ""
        yield f"Attempt {one.attempt} ended {sentences.ago(one.end_time, now)}, {one.ended_by}{told}"
    if given is not None and given.reason in _PAGED:
        yield f"More: {_PAGES}/{given.reason}.md"


def _tell_queue(entry: Mapping[str, Any] | None, unreachable: str) -> Iterator[str]:
    if entry is None:
        cause = unreachable or "no gang of this name waits"
        yield f"Its place in the queue is not known: {sentences.end(cause)}"
        return
    yield f"It is number {entry['position']} of those that wait."
    eta_s, basis = entry["etaSeconds"], entry["basis"]
    if eta_s is not None:
        yield f"It may start in {_length(eta_s)}: {sentences.end(basis)}"
    elif basis:
        yield f"When it may start is not known: {sentences.end(basis)}"
    if entry["wouldEnd"]:
        yield f"Preemption would end or shrink {', '.join(entry['wouldEnd'])}."


def _length(seconds: float) -> str:
    for size_s, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size_s:
            return f"about {seconds / size_s:.0f} {unit}"
    return f"about {seconds:.0f} s"
