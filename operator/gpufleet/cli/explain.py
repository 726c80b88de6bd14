"""`gpufleet explain`: why a service has the servers it has, and what another load would need."""

from __future__ import annotations

import datetime
import json
import re
from typing import Any

import click
import pydantic

from gpufleet.api import triton_service
from gpufleet.cli import about, reach, sentences

_RATE = re.compile(r"rate=([0-9]+(?:\.[0-9]+)?)x?")
_MOST = 1000.0


@click.command()
@click.argument("subject", nargs=-1, required=True, metavar="tsvc/NAME")
@click.option("--what-if", "supposed", metavar="rate=2x", help="What this many times the load would need.")
@about.options
def explain(
    subject: tuple[str, ...],
    namespace: str | None,
    context: str | None,
    supposed: str | None,
    output: str,
    operator_namespace: str,
    server: str | None,
) -> None:
    """Tell why a TritonService has the servers it has; changes nothing.

    The decisions are in its status. What the signals say now, and --what-if, are asked of the operator: that
    needs the Role gpufleet-snapshot in its namespace, and without it status alone is told.
    """
    name, rate = parse_subject(subject), parse_rate(supposed)
    cluster = reach.Cluster(context)
    where = namespace or cluster.namespace
    service = _validate(cluster.read_service(where, name))

    told = _find(service, about.asking(cluster, operator_namespace, server), rate)
    now = datetime.datetime.now(datetime.UTC)
    click.echo(_to_json(told) if output == "json" else "\n".join(sentences.tell(told, now)))
    if told.refusal:
        raise click.ClickException(told.refusal)


def parse_subject(words: tuple[str, ...]) -> str:
    """The name in tsvc/NAME or tsvc NAME. Raises click.UsageError."""
    return about.parse_subject(words, "tsvc", triton_service.KIND, triton_service.PLURAL)


def parse_rate(text: str | None) -> float | None:
    """The multiple in rate=2x. Raises click.UsageError."""
    if text is None:
        return None
    found = _RATE.fullmatch(text)
    if not found or float(found[1]) > _MOST:
        raise click.UsageError(f"--what-if {text!r}: write rate=2x, with a number from 0 to {_MOST:g}")
    return float(found[1])


def _validate(raw: dict[str, Any]) -> triton_service.TritonService:
    try:
        return triton_service.TritonService.model_validate(raw)
    except pydantic.ValidationError as error:
        name = raw["metadata"]["name"]
        raise click.ClickException(f"{name} is of another version than this command: {error}") from error


def _find(service: triton_service.TritonService, ask: about.Ask, rate: float | None) -> sentences.Told:
    """All that is known; what the operator does not answer is told and not raised."""
    which = {"namespace": service.metadata.namespace, "name": service.metadata.name}
    told = sentences.Told(service)
    if not sentences.is_scaled(service):
        refusal = (
            "the service is not scaled by load, so no load changes its number" if rate is not None else ""
        )
        return told.updated(refusal=refusal)
    try:
        told = told.updated(**_read_decisions(*ask("/decisions", which)))
        if rate is None:
            return told
        status, body = ask("/what-if", {**which, "rate": f"{rate:g}"})
        return told.updated(supposed=body) if status == 200 else told.updated(refusal=str(body["message"]))
    except reach.UnreachableError as error:
        refusal = (
            f"--what-if is answered by the operator, which was not reached: {error}"
            if rate is not None
            else ""
        )
        return told.updated(unreachable=str(error), refusal=refusal)


def _read_decisions(status: int, body: dict[str, Any]) -> dict[str, Any]:
    if status != 200:
        raise reach.UnreachableError(str(body.get("message") or f"HTTP {status}"))
    listed = body["services"]
    return {"entry": listed[0] if listed else None, "look": body["look"]}


def _to_json(told: sentences.Told) -> str:
    metadata, status = told.service.metadata, told.service.status
    record = status.autoscaling.to_wire() if status.autoscaling else None
    found = {
        "namespace": metadata.namespace,
        "name": metadata.name,
        "readyReplicas": status.ready_replicas,
        "status": record,
        "sliceChoice": status.slice_choice.to_wire() if status.slice_choice else None,
        "now": told.entry,
        "look": told.look,
        "whatIf": told.supposed,
        "unreachable": told.unreachable or None,
    }
    return json.dumps(found, indent=2)
