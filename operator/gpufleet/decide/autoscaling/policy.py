"""Signals → the number of servers that they ask for.

A target of a mean: ceil(ready × value / target), as the HorizontalPodAutoscaler computes it. A target per
server: ceil(sum / target). The target that needs most counts.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

from gpufleet.api import autoscaling
from gpufleet.decide.autoscaling import signals

NO_EVIDENCE = "NoEvidence"
PODS_STARTING = "PodsStarting"


@dataclasses.dataclass(frozen=True, slots=True)
class _Kind:
    """Where a signal is read, its unit in the reading's, and whether a target of it is per server."""

    read: Callable[[signals.Readings], signals.Reading]
    scale: float = 1.0
    per_server: bool = False


_KINDS: Mapping[autoscaling.Signal, _Kind] = {
    "QueueWait": _Kind(lambda all_: all_.wait_s, 1000.0),
    "Latency": _Kind(lambda all_: all_.latency_s, 1000.0),
    "TimeToFirstToken": _Kind(lambda all_: all_.ttft_s, 1000.0),
    "KVCacheUsage": _Kind(lambda all_: all_.kv_cache, 100.0),
    "PendingRequests": _Kind(lambda all_: all_.pending, per_server=True),
    "RequestRate": _Kind(lambda all_: all_.offered, per_server=True),
    "BusyPercent": _Kind(lambda all_: all_.busy, 100.0, per_server=True),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """What the signals ask for; `reason` is empty unless something keeps them from being followed."""

    replicas: int
    inputs: tuple[autoscaling.Input, ...] = ()
    reason: str = ""
    message: str = ""
    leading: str = ""
    """The signal that asked for most."""


def recommend(spec: autoscaling.Autoscaling, found: signals.Readings, current: int) -> Wanted:
    """Without enough evidence the number stays; it may still grow on what there is."""
    inputs = tuple(_read(target, found) for target in spec.targets)
    wants = [_want(target, found, spec.behavior, current) for target in spec.targets]
    known = [(want, one.signal) for want, one in zip(wants, inputs, strict=True) if want is not None]
    most, leading = max(known, default=(current, ""))
    if most > current and found.ready < current and not _is_absolute(leading):
        starting = current - found.ready
        message = f"{starting} of {current} servers are still to become ready; their effect is awaited"
        return Wanted(current, inputs, PODS_STARTING, message, leading)
    if most <= current and (lacking := _describe_lack(inputs, found)):
        return Wanted(current, inputs, NO_EVIDENCE, lacking, leading)
    return Wanted(most, inputs, leading=leading)


def _is_absolute(signal: str) -> bool:
    """Whether the sum does not grow while servers start: only ratios make a cascade (vllm aibrix#2670)."""
    return signal in ("RequestRate", "BusyPercent")


def _read(target: autoscaling.Target, found: signals.Readings) -> autoscaling.Input:
    kind = _KINDS[target.signal]
    reading = kind.read(found)
    value = reading.value
    if value is not None:
        value = round(value * kind.scale / (max(1, found.ready) if kind.per_server else 1), 3)
    return autoscaling.Input(
        signal=target.signal,
        value=None if value is None else min(value, 1e12),
        target=target.value,
        type=reading.kind,
        age_seconds=round(reading.age_s),
    )


def _want(
    target: autoscaling.Target, found: signals.Readings, behavior: autoscaling.Behavior, current: int
) -> int | None:
    """Servers for one target; None where its signal says nothing."""
    kind = _KINDS[target.signal]
    reading = kind.read(found)
    if reading.kind == "Idle":
        return 0
    if reading.value is None:
        return None
    needed = reading.value * kind.scale / target.value
    exact = needed if kind.per_server else needed * found.ready
    if current and _is_within_tolerance(exact / current, behavior):
        return current
    wanted = math.ceil(round(exact, 6))
    return wanted if wanted >= current or reading.may_shrink else current


def _is_within_tolerance(ratio: float, behavior: autoscaling.Behavior) -> bool:
    up, down = behavior.scale_up.tolerance_percent, behavior.scale_down.tolerance_percent
    return 1 - down / 100 <= ratio <= 1 + up / 100


def _describe_lack(inputs: tuple[autoscaling.Input, ...], found: signals.Readings) -> str:
    """Which signals forbid shrinking, and why; empty where none does."""
    lacking = [one for one in inputs if one.type in ("Stale", "Missing", "Partial")]
    if not lacking:
        return ""
    said = ", ".join(f"{one.signal} is {one.type.lower()}" for one in lacking)
    seen = f"{found.seen} of {found.ready} ready servers have fresh samples"
    why = f": {found.error}" if found.error else ""
    return f"{said}; {seen}{why}; the number does not shrink on lack of evidence"
