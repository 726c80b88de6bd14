"""`gpufleet status`: is the fleet well, and if not, what is wrong."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Sequence
from typing import Any

import click
import msgspec

from gpufleet.cli import about, door, health, reach, sources, tables

_TITLES = {
    "wrong": ("WRONG", "red"),
    "unknown": ("NOT KNOWN", "yellow"),
    "waits": ("WAITS", "yellow"),
    "advised": ("ADVISED, NOT DONE", "cyan"),
}
_MOST_ROWS = 40
"""Of each table; the rest is counted, and told by -o json."""


class _UnknownError(click.ClickException):
    exit_code = 2


class Report(msgspec.Struct, rename="camel"):
    """All that is known, with what could not be asked."""

    operator: health.About | None = None
    nodes: list[health.Nodes] = []
    devices: list[health.Devices] = []
    services: int | None = None
    """None where they could not be read, as for jobs."""
    jobs: int | None = None
    findings: list[health.Finding] = []

    def wire(self) -> dict[str, Any]:
        code, verdict = health.judge(self.findings)
        found: dict[str, Any] = msgspec.to_builtins(self)
        return {"exitCode": code, "verdict": verdict, **found}


@click.command()
@click.option("-n", "--namespace", help="Only services and jobs of this namespace; unset: of all.")
@click.option(
    "-o", "--output", type=click.Choice(["text", "json", "yaml"]), default="text", show_default=True
)
@about.operator_options
def status(
    namespace: str | None, context: str | None, output: str, operator_namespace: str, server: str | None
) -> None:
    """Tell whether the fleet is well: the operator, pools, services, jobs and advice; changes nothing.

    Exit code 0: all is well. 1: something is wrong. 2: it cannot be told. What is known comes from the
    operator; where it does not answer, from the objects themselves.
    """
    now = datetime.datetime.now(datetime.UTC)
    try:
        with door.opened(context) as get:
            report = find(sources.Sources(get, operator_namespace, server), namespace, now)
    except click.ClickException as error:
        raise _UnknownError(error.message) from error
    if output == "text":
        click.echo("\n".join(tell(report, now, tables.width(), coloured=tables.is_coloured())))
    else:
        click.echo(_dump(report.wire(), output))
    raise SystemExit(health.judge(report.findings)[0])


def find(source: sources.Sources, namespace: str | None, now: datetime.datetime) -> Report:
    """Asks for all of it; what nobody answers is a finding."""
    report, queue = Report(), []
    try:
        fleet = source.fleet()
        report.nodes, report.devices = health.count(fleet)
        report.operator = source.about()
        queue = source.queue()
    except reach.UnreachableError as error:
        fleet, found = source.objects()
        # The Lease tells more than that the operator was not reached: nobody leads, or one may not ask.
        report.findings += [
            source.find_leader(now) or health.Finding("unknown", "Operator", "", "NotReached", str(error)),
            *found,
        ]
    services, jobs = (
        [one for one in things if namespace in (None, one.metadata.namespace)]
        for things in (fleet.services, fleet.jobs)
    )
    if report.operator:
        report.findings += health.find_in_operator(report.operator)
    report.findings += health.find_in_pools(fleet.pools, fleet.repartition)
    report.findings += health.find_in_services(services, now)
    report.findings += health.find_in_jobs(jobs, queue, now)
    if all(one.reason != "NotRead" for one in report.findings):
        report.services, report.jobs = len(services), len(jobs)
    return report


def tell(
    report: Report, now: datetime.datetime, most: int | None, *, coloured: bool = False
) -> Iterator[str]:
    """The verdict first, then what is wrong, then the fleet."""
    code, verdict = health.judge(report.findings)
    yield tables.paint(verdict, ("green", "red", "yellow")[code], coloured=coloured)
    for level, (title, colour) in _TITLES.items():
        if found := [one for one in report.findings if one.level == level]:
            yield ""
            yield tables.paint(f"{title} ({len(found)})", colour, coloured=coloured)
            yield from _tell_findings(found, now, most)
    yield ""
    yield _describe_operator(report.operator)
    if report.services is not None and report.jobs is not None:
        yield f"{_count(report.services, 'service')}, {_count(report.jobs, 'job')}."
    if report.nodes:
        yield ""
        rows = [
            (one.pool or "(none)", str(one.total), str(one.ready), str(one.cordoned)) for one in report.nodes
        ]
        yield from tables.columns(("POOL", "NODES", "READY", "CORDONED"), rows, most)
    if report.devices:
        yield ""
        figures = [
            (one.pool or "(none)", one.resource, *map(str, (one.total, one.used, one.free, one.unusable)))
            for one in report.devices
        ]
        head = ("POOL", "RESOURCE", "TOTAL", "USED", "FREE", "UNUSABLE")
        yield from tables.columns(head, figures, most)


def _tell_findings(
    found: Sequence[health.Finding], now: datetime.datetime, most: int | None
) -> Iterator[str]:
    rows = [
        (f"{one.kind}/{one.name}".rstrip("/"), one.reason, _age(one.since, now), one.message.split("\n")[0])
        for one in found[:_MOST_ROWS]
    ]
    yield from tables.columns(("OBJECT", "REASON", "SINCE", "MESSAGE"), rows, most)
    if len(found) > _MOST_ROWS:
        yield f"and {len(found) - _MOST_ROWS} more: -o json tells all"


def _describe_operator(told: health.About | None) -> str:
    if told is None:
        return "The operator was not asked."
    age_s, is_asked = told.prometheus.get("ageSeconds"), told.prometheus.get("configured")
    seen = "not asked yet" if age_s is None else f"asked {age_s:.0f} s ago"
    return (
        f"gpufleet {told.version}, led by {told.leader}; Prometheus {seen if is_asked else 'not configured'}."
    )


def _age(since: datetime.datetime | None, now: datetime.datetime) -> str:
    if since is None:
        return "-"
    seconds = max(0, int((now - since).total_seconds()))
    for size_s, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size_s:
            return f"{seconds // size_s}{unit}"
    return f"{seconds}s"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _dump(wire: dict[str, Any], output: str) -> str:
    if output == "json":
        return json.dumps(wire, indent=2)
    import yaml

    return str(yaml.safe_dump(wire, sort_keys=False, allow_unicode=True)).rstrip()
