"""Signals → the number of servers that they ask for.

A target of a mean: ceil(ready × value / target), as the HorizontalPodAutoscaler computes it. A target per
server: ceil(sum / target). The objective: ceil(expected load / what a server carries within it). Refused
requests: at least so many that all would have been served. Who needs most counts.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping

from gpufleet.api import autoscaling
from gpufleet.decide.autoscaling import signals

NO_EVIDENCE = "NoEvidence"
PODS_STARTING = "PodsStarting"
CAPACITY_UNKNOWN = "CapacityUnknown"
OBJECTIVE = "Objective"
SHED_LOAD = "ShedLoad"

MOST = 10**6
"""Servers; more are a figure that nobody can have measured."""
SHED_SHARE = 0.01
"""Share of refused requests from which the number has to grow."""
NOISE_SPARE = 3.0
"""Standard deviations of the load that fewer servers must have to spare, or its noise brings one back."""
_SHED_MARGIN = 1.1
_LEAST_SERVED = 0.1


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
    "InterTokenLatency": _Kind(lambda all_: all_.itl_s, 1000.0),
    "KVCacheUsage": _Kind(lambda all_: all_.kv_cache, 100.0),
    "EngineActive": _Kind(lambda all_: all_.gr_engine_active, 100.0),
    "PendingRequests": _Kind(lambda all_: _read_pending(all_), per_server=True),
    "RequestRate": _Kind(lambda all_: all_.offered, per_server=True),
    "BusyPercent": _Kind(lambda all_: all_.busy, 100.0, per_server=True),
}

_ABSOLUTE = ("RequestRate", "BusyPercent", OBJECTIVE, SHED_LOAD)
"""What does not grow while servers start: only ratios make a cascade (vllm aibrix#2670)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """What one service shows.

    Of its `current` servers `overdue` should have been ready long ago. `has_objective` says that the
    objective counts; `demand` is None while it is not known what a server carries.
    """

    found: signals.Readings
    current: int
    overdue: int = 0
    has_objective: bool = False
    demand: autoscaling.Demand | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """What the signals ask for; `reason` is empty unless something keeps them from being followed."""

    replicas: int
    inputs: tuple[autoscaling.Input, ...] = ()
    reason: str = ""
    message: str = ""
    leading: str = ""
    """What asked for most: a signal, the objective, or refused requests."""


def recommend(spec: autoscaling.Autoscaling, facts: Facts) -> Wanted:
    """Without enough evidence the number stays; it may still grow on what there is."""
    found, current = facts.found, facts.current
    inputs = tuple(_read(target, found) for target in spec.targets)
    starting = max(0, current - found.ready - facts.overdue)
    known = list(_collect(spec, facts, starting))
    most, leading = max(known, default=(current, ""))
    if most > current and starting and leading not in _ABSOLUTE:
        message = f"{starting} of {current} servers are still to become ready; their effect is awaited"
        return Wanted(current, inputs, PODS_STARTING, message, leading)
    if most <= current and (lacking := _describe_lack(inputs, facts)):
        return Wanted(current, inputs, NO_EVIDENCE, lacking, leading)
    if most <= current and facts.has_objective and facts.demand is None and not _is_idle(found):
        message = "what a server carries within the objective is not known yet: it is learnt under load"
        return Wanted(current, inputs, CAPACITY_UNKNOWN, message, leading)
    return Wanted(most, inputs, leading=leading)


def _collect(spec: autoscaling.Autoscaling, facts: Facts, starting: int) -> Iterator[tuple[int, str]]:
    """(servers, what asks for them) of all that says anything."""
    for target in spec.targets:
        want = _want(target, facts.found, spec.behavior, facts.current)
        if want is not None:
            yield want, target.signal
    if facts.has_objective and (want := _want_for_objective(spec, facts)) is not None:
        yield want, OBJECTIVE
    # What a server that starts will take over is not known by what the others refuse; its capacity may be.
    if starting and facts.demand is not None:
        return
    if (want := _want_for_shed(facts.found)) is not None:
        yield want, SHED_LOAD


def _want_for_objective(spec: autoscaling.Autoscaling, facts: Facts) -> int | None:
    """Fewer only if they carry more than what is needed: with N−1 each has N/(N−1) of the load.

    More by the noise, which would bring the server back, and by the tolerance where no noise is known.
    """
    offered, demand = facts.found.offered, facts.demand
    if offered.kind == "Idle" and (demand is None or demand.expected <= demand.offered):
        return 0
    if demand is None or demand.capacity <= 0:
        return None
    needed = max(demand.offered, demand.expected + demand.margin) / demand.capacity
    wanted = _count(needed)
    if wanted >= facts.current:
        return wanted
    if not offered.may_shrink:
        return facts.current
    spare = needed * spec.behavior.scale_down.tolerance_percent / 100
    if demand.noise is not None:
        spare = NOISE_SPARE * demand.noise / demand.capacity
    return min(facts.current, _count(needed + spare))


def _want_for_shed(found: signals.Readings) -> int | None:
    """Servers that are seen were too few by the share of what they refused (Knative's panic)."""
    shed, offered = found.shed.value, found.offered.value
    if not shed or not offered or shed / offered <= SHED_SHARE:
        return None
    served = max(offered - shed, offered * _LEAST_SERVED)
    return max(found.seen + 1, _count(found.seen * offered / served * _SHED_MARGIN))


def _read_pending(found: signals.Readings) -> signals.Reading:
    """An engine that batches in flight takes requests off Triton's queue at once, and has its own."""
    return found.pending if found.llm_waiting.value is None else found.llm_waiting


def _count(servers: float) -> int:
    """Whole servers; absurd figures, which anybody may write into Prometheus, stay what a status can hold."""
    return math.ceil(round(min(servers, MOST), 6))


def _is_idle(found: signals.Readings) -> bool:
    return found.offered.kind == "Idle"


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
    wanted = _count(exact)
    return wanted if wanted >= current or reading.may_shrink else current


def _is_within_tolerance(ratio: float, behavior: autoscaling.Behavior) -> bool:
    up, down = behavior.scale_up.tolerance_percent, behavior.scale_down.tolerance_percent
    return 1 - down / 100 <= ratio <= 1 + up / 100


def _describe_lack(inputs: tuple[autoscaling.Input, ...], facts: Facts) -> str:
    """Which signals forbid shrinking, and why; empty where none does."""
    found = facts.found
    kinds = [(str(one.signal), one.type) for one in inputs]
    if facts.has_objective:
        kinds.append(("load", found.offered.kind))
    lacking = [(name, kind) for name, kind in kinds if kind in ("Stale", "Missing", "Partial")]
    if not lacking:
        return ""
    said = ", ".join(f"{name} is {kind.lower()}" for name, kind in lacking)
    seen = f"{found.seen} of {found.ready} ready servers have fresh samples"
    causes = "; ".join(one for one in (found.error, *found.notes) if one)
    why = f": {causes}" if causes else ""
    return f"{said}; {seen}{why}; the number does not shrink on lack of evidence"
