"""Why every service has the servers it has, as the read API tells it; decisions stand in status."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable
from typing import Any

from gpufleet.api import triton_service
from gpufleet.decide.autoscaling import forecast, memories, record, scaler, signals
from gpufleet.state import samples, snapshot

_FIELDS = (
    ("requestsPerSecond", "offered", 1.0),
    ("refusedPerSecond", "shed", 1.0),
    ("pendingRequests", "pending", 1.0),
    ("queueWaitMilliseconds", "wait_s", 1000.0),
    ("busyInstances", "busy", 1.0),
    ("latencyP99Milliseconds", "latency_s", 1000.0),
    ("timeToFirstTokenP99Milliseconds", "ttft_s", 1000.0),
    ("kvCachePercent", "kv_cache", 100.0),
)
"""(name, field of the readings, its factor): of all servers together."""


def build(
    view: snapshot.Snapshot,
    look: samples.Look,
    found: memories.Pass,
    now: datetime.datetime,
    services: Iterable[triton_service.TritonService],
) -> dict[str, Any]:
    """The answer of /decisions: `services` in their order, as far as they have spec.autoscaling."""
    age_s = max(0.0, now.timestamp() - look.at_s) if look.number else None
    scaled = [one for one in services if one.spec.autoscaling]
    return {
        "time": _stamp(now),
        "look": {"number": look.number, "ageSeconds": _round(age_s), "error": look.error},
        "services": [_describe(one, view, found, now) for one in scaled],
    }


def _describe(
    service: triton_service.TritonService,
    view: snapshot.Snapshot,
    found: memories.Pass,
    now: datetime.datetime,
) -> dict[str, Any]:
    uid, spec = service.metadata.uid, service.spec.autoscaling
    scaling, readings = found.scalings.get(uid), found.readings.get(uid)
    remembered = found.memories.get(uid)
    return {
        "namespace": service.metadata.namespace,
        "name": service.metadata.name,
        "mode": spec.mode if spec else "Off",
        "current": memories.find_replicas(service, view),
        "scaling": _describe_scaling(scaling, now) if scaling else None,
        "readings": _describe_readings(readings) if readings else None,
        "memory": _describe_memory(remembered, now) if remembered else None,
    }


def _describe_scaling(scaling: scaler.Scaling, now: datetime.datetime) -> dict[str, Any]:
    """The decision of the last pass in the form of status, and what status has no room for."""
    [decision] = record.build_status(None, scaling, now).decisions
    wire = decision.to_wire()
    del wire["time"]
    trouble = scaling.trouble
    return {
        **wire,
        "leading": scaling.leading,
        "aim": scaling.aim,
        "trouble": {"reason": trouble[0], "message": trouble[1]} if trouble else None,
    }


def _describe_readings(readings: signals.Readings) -> dict[str, Any]:
    told: dict[str, Any] = {"readyServers": readings.ready, "serversWithSamples": readings.seen}
    for name, field, factor in _FIELDS:
        one: signals.Reading = getattr(readings, field)
        value = None if one.value is None else one.value * factor
        told[name] = {"value": _round(value), "type": one.kind, "ageSeconds": _round(one.age_s)}
    return told


def _describe_memory(known: memories.Remembered, now: datetime.datetime) -> dict[str, Any]:
    starts, learnt = known.starts, known.learnt
    ahead = forecast.predict(known.history, starts.p90_s(), now.timestamp())
    return {
        "coldStart": {
            "p90Seconds": _round(starts.p90_s()),
            "deadlineSeconds": _round(starts.deadline_s()),
            "measured": len(starts.durations_s),
        },
        "forecast": {
            "value": _round(ahead.value),
            "method": ahead.method,
            "error": _round(ahead.error),
            "lastValueError": _round(ahead.baseline_error),
            "periodSeconds": _round(ahead.period_s),
        }
        if ahead
        else None,
        "learnt": {"held": _round(learnt.held), "missed": _round(learnt.missed)},
        "watchedSince": _stamp_s(known.windows.since_s),
        "idleSince": _stamp_s(known.idle_since_s),
    }


def _round(value: float | None) -> float | None:
    """None also for what no JSON can say."""
    return round(value, 3) if value is not None and math.isfinite(value) else None


def _stamp(at: datetime.datetime) -> str:
    return at.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _stamp_s(at_s: float | None) -> str | None:
    return None if at_s is None else _stamp(datetime.datetime.fromtimestamp(at_s, datetime.UTC))
