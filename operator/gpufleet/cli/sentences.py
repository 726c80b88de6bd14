"""What status and the read API know of one service, in sentences; pure."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gpufleet.api import autoscaling, triton_service
from gpufleet.cli import remedies

_PAGES = "docs/runbooks/autoscaling"
_UNITS = {"QueueWait": " ms", "Latency": " ms", "TimeToFirstToken": " ms", "KVCacheUsage": " %"}
_READINGS = (
    ("requestsPerSecond", "requests", "per second"),
    ("refusedPerSecond", "refused", "per second"),
    ("pendingRequests", "waiting", "requests"),
    ("queueWaitMilliseconds", "mean wait", "ms"),
    ("busyInstances", "busy", "instances"),
    ("latencyP99Milliseconds", "P99 latency", "ms"),
    ("timeToFirstTokenP99Milliseconds", "P99 first token", "ms"),
    ("kvCachePercent", "KV cache", "%"),
)
_METHODS = {"LastValue": "the last two scrapes", "Trend": "its trend", "Seasonal": "its season"}
_SOURCES = {"Profile": "by its ModelProfile", "Learnt": "learnt from the servers under load"}
_LEADERS = {"Objective": "for the objective", "ShedLoad": "because requests are refused"}


@dataclasses.dataclass(frozen=True, slots=True)
class Told:
    """One service; `entry` and `look` are of /decisions, `supposed` of /what-if.

    `unreachable` says why they are not there, `refusal` why a supposed load was not answered.
    """

    service: triton_service.TritonService
    entry: Mapping[str, Any] | None = None
    look: Mapping[str, Any] | None = None
    supposed: Mapping[str, Any] | None = None
    unreachable: str = ""
    refusal: str = ""

    def updated(self, **changes: Any) -> Told:
        return dataclasses.replace(self, **changes)


def is_scaled(service: triton_service.TritonService) -> bool:
    """Whether its number follows the load, or is computed from it."""
    return service.spec.autoscaling is not None and service.spec.autoscaling.mode != "Off"


def tell(told: Told, now: datetime.datetime) -> Iterator[str]:
    """Line by line."""
    service, spec = told.service, told.service.spec.autoscaling
    yield from tell_servers(service)
    yield from tell_size(service)
    if spec is None or not is_scaled(service):
        return
    decision = find_decision(told)
    yield ""
    yield from tell_signals(told, now)
    if decision is not None:
        yield from tell_demand(decision.demand, spec, told.entry)
        yield ""
        yield from tell_decision(decision, spec, (told.entry or {}).get("scaling") or {})
        yield from tell_change(decision, spec)
    if service.status.autoscaling and service.status.autoscaling.decisions:
        yield ""
        yield "Decisions, the newest first:"
        yield from tell_record(service.status.autoscaling.decisions, now)
    if told.supposed:
        yield ""
        yield from tell_supposed(told.supposed)


def find_decision(told: Told) -> autoscaling.ScalingDecision | None:
    """That of the last pass, else the newest of the record."""
    scaling = (told.entry or {}).get("scaling")
    if scaling:
        fields = {key: value for key, value in scaling.items() if key not in ("leading", "aim", "trouble")}
        return autoscaling.ScalingDecision.model_validate({"time": "1970-01-01T00:00:00Z", **fields})
    record = told.service.status.autoscaling
    return record.decisions[0] if record and record.decisions else None


def tell_servers(service: triton_service.TritonService) -> Iterator[str]:
    """How many there are, and who says so."""
    spec, status, metadata = service.spec.autoscaling, service.status, service.metadata
    assigned = count(status.assignment.replicas if status.assignment else 0, "server")
    yield f"{metadata.namespace}/{metadata.name} has {assigned}, {status.ready_replicas} ready."
    if spec is None or spec.mode == "Off":
        yield "It is not scaled by load: spec.replicas and the scale subresource set the number."
        return
    bounds = f"between {spec.min_replicas} and {spec.max_replicas} servers"
    if spec.mode == "Advisory":
        yield f"Advisory: what follows is computed, {bounds}, and not done; spec.replicas sets the number."
    else:
        yield f"Active: the load sets the number, {bounds}."
    aims = [f"{one.signal} {number(one.value)}{_UNITS.get(one.signal, '')}" for one in spec.targets]
    if service.spec.objective:
        latency = service.spec.objective.latency
        promise = f"{latency.percentile} within {latency.target_milliseconds} ms"
        sure = f"{spec.confidence_percent} % confidence"
        kept = sure if spec.headroom_percent is None else f"{spec.headroom_percent} % kept free"
        aims.insert(0, f"{promise}, with {kept}")
    yield f"It is to hold {'; '.join(aims)}."


def tell_size(service: triton_service.TritonService) -> Iterator[str]:
    """The advice on the MIG profile, and which slice costs least, where there is any."""
    told = service.status.right_sizing
    if told is not None:
        yield f"Right size, advice only. {told.reason}: {end(told.message)}"
    choice = service.status.slice_choice
    if choice is not None:
        moved = f" It was moved at {choice.moved_at:%Y-%m-%d %H:%M} UTC." if choice.moved_at else ""
        yield f"Slice by cost. {choice.reason}: {end(choice.message)}{moved}"


def tell_signals(told: Told, now: datetime.datetime) -> Iterator[str]:
    """What is seen now; of status alone what was seen then."""
    readings = (told.entry or {}).get("readings")
    error = (told.look or {}).get("error")
    if error:
        yield f"Prometheus gives no samples: {end(error)}"
    if readings:
        yield f"Signals of {count(readings['readyServers'], 'ready server')} now:"
        for name, label, unit in _READINGS:
            one = readings[name]
            if name == "requestsPerSecond" or one["value"] is not None:
                value = "unknown" if one["value"] is None else f"{number(one['value'])} {unit}"
                yield f"  {label:<16} {value:<20} {one['type']}, {one['ageSeconds']:.0f} s old"
        return
    why = told.unreachable or error or "the operator has not looked at it yet"
    decision = find_decision(told)
    if decision is None:
        yield f"No decision was made so far, and what is seen now is not known: {end(why)}"
        return
    yield f"What is seen now is not known: {end(why)}"
    yield f"From status alone, as it was when the newest decision was made, {ago(decision.time, now)}:"
    for given in decision.inputs:
        value = "unknown" if given.value is None else f"{number(given.value)}{_UNITS.get(given.signal, '')}"
        yield f"  {given.signal:<16} {value:<20} {given.type}, {given.age_seconds} s old then"


def tell_demand(
    demand: autoscaling.Demand | None, spec: autoscaling.Autoscaling, entry: Mapping[str, Any] | None
) -> Iterator[str]:
    """What a server carries, what is expected, and how long a start takes."""
    memory = (entry or {}).get("memory") or {}
    if demand is not None:
        learnt = _tell_learnt(memory.get("learnt") or {})
        source = _SOURCES[demand.source]
        yield f"A server carries {number(demand.capacity)} requests per second in time, {source}{learnt}."
        within = f"within the {demand.horizon_seconds} s that a server takes to start"
        offered, expected = number(demand.offered), number(demand.expected)
        if demand.expected > demand.offered:
            method = _METHODS[demand.method]
            yield f"{offered} per second come; {expected} are expected {within}, by {method}."
        else:
            yield f"{offered} per second come, and no more are expected {within}."
        if demand.margin > 0:
            yield f"{number(demand.margin)} more are provided for, by how such loads went on before."
    start = memory.get("coldStart")
    if start:
        taken = f"{start['p90Seconds']:.0f} s"
        if start["measured"]:
            measured = count(start["measured"], "start")
            yield f"Nine of ten servers were ready after {taken} ({measured} measured)."
        else:
            yield f"No start of a server was measured yet; {taken} are assumed."


def _tell_learnt(learnt: Mapping[str, Any]) -> str:
    held, missed = learnt.get("held"), learnt.get("missed")
    said = [f"{number(held)} held" if held else "", f"{number(missed)} did not" if missed else ""]
    known = " and ".join(one for one in said if one)
    return f" ({known})" if known else ""


def tell_decision(
    decision: autoscaling.ScalingDecision, spec: autoscaling.Autoscaling, scaling: Mapping[str, Any]
) -> Iterator[str]:
    """What the signals ask for, and what became of it."""
    leading = scaling.get("leading") or ""
    cause = _LEADERS.get(leading) or (f"for {leading}" if leading else "")
    yield f"The signals ask for {count(decision.wanted, 'server')}{' ' + cause if cause else ''}."
    for clamp in decision.clamps:
        if clamp.before == clamp.after:
            yield f"  {clamp.reason} holds it at {clamp.after}: {end(clamp.message)}"
        else:
            yield f"  {clamp.reason} moves {clamp.before} to {clamp.after}: {end(clamp.message)}"
    would = " would be right" if spec.mode == "Advisory" else ""
    yield f"So {count(decision.replicas, 'server')}{would}. {decision.reason}: {end(decision.message)}"


def tell_change(decision: autoscaling.ScalingDecision, spec: autoscaling.Autoscaling) -> Iterator[str]:
    """What would make the number another one, and the page that says more."""
    yield from remedies.find(decision, spec)
    reasons = dict.fromkeys((decision.reason, *(one.reason for one in decision.clamps)))
    yield f"More: {', '.join(f'{_PAGES}/{one}.md' for one in reasons)}"


def tell_record(decisions: Sequence[autoscaling.ScalingDecision], now: datetime.datetime) -> Iterator[str]:
    for one in decisions:
        yield f"  {ago(one.time, now):<12} {one.reason}: {one.message}"


def tell_supposed(supposed: Mapping[str, Any]) -> Iterator[str]:
    """The answer of /what-if."""
    decision = autoscaling.ScalingDecision.model_validate(supposed["decision"])
    load = f" ({number(decision.demand.offered)} requests per second)" if decision.demand else ""
    yield (
        f"With {number(supposed['rate'])} times the load{load} the signals would ask for "
        f"{count(decision.wanted, 'server')}, and it would have {decision.replicas}:"
    )
    for clamp in decision.clamps:
        yield f"  {clamp.reason} would move {clamp.before} to {clamp.after}: {end(clamp.message)}"
    yield f"  {decision.reason}: {end(decision.message)}"
    yield "  Windows and rates of behavior, which only delay, are left out; other services stay as they are."
    for note in supposed["notes"]:
        yield f"  {note[0].upper()}{note[1:]}."


def ago(at: datetime.datetime, now: datetime.datetime) -> str:
    """A time as people say it."""
    age_s = (now - at).total_seconds()
    for size_s, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if age_s >= size_s:
            return f"{int(age_s // size_s)} {unit} ago"
    return f"{max(0, int(age_s))} s ago"


def number(value: float) -> str:
    """At most three digits that count, but no exponent."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def end(text: str) -> str:
    """With one full stop."""
    return text if text.endswith(".") else f"{text}."


def count(many: int, what: str) -> str:
    return f"{many} {what}" if many == 1 else f"{many} {what}s"
