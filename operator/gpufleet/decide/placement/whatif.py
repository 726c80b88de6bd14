"""What would be decided about one service if its load were another: the same decision on a supposed load.

It shares the pass's own functions and returns what they give; nothing is remembered, booked or written.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator, Mapping
from typing import Any

from gpufleet.api import autoscaling, triton_service
from gpufleet.decide.autoscaling import behavior, memories, record, scaler
from gpufleet.decide.placement import assign, brakes
from gpufleet.state import samples, snapshot

MOST = 1000.0
"""Largest multiple of the load that may be supposed."""
_FREE = autoscaling.ScalingPolicy(type="Pods", value=10_000, period_seconds=15)
_UNKNOWN = ("QueueWait", "Latency", "TimeToFirstToken", "KVCacheUsage", "PendingRequests")
"""Signals that follow the load in ways that are not known."""


@dataclasses.dataclass(frozen=True, slots=True)
class Present:
    """What a pass would see now, and what the last one has found."""

    view: snapshot.Snapshot
    look: samples.Look
    scaled: memories.Pass
    answers: Mapping[Any, Any]
    limits: brakes.Limits
    now: datetime.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class Supposed:
    """The decision that a pass would come to, and what it does not know."""

    decision: autoscaling.ScalingDecision
    notes: tuple[str, ...]


def what_if(service: triton_service.TritonService, rate: float, present: Present) -> Supposed | None:
    """The decision at `rate` times the offered load; None where nothing is decided about the service now.

    Windows and rates of spec.autoscaling.behavior are left out, and idleSeconds counts as over: it is where
    the number would come to rest. Other services keep what they are assigned.
    """
    spec, uid, now = service.spec.autoscaling, service.metadata.uid, present.now
    if spec is None:
        return None
    free = _free(service, spec)
    others = tuple(one for one in present.view.services if one.metadata.uid != uid)
    alone = dataclasses.replace(present.view, services=(free,))
    before = _forget_windows(present.scaled.memories.get(uid), now)
    found = memories.scale_all(
        alone, present.look, {uid: before} if before else {}, now, present.answers, rate
    )
    if uid not in found.scalings:
        return None
    whole = dataclasses.replace(present.view, services=_sort((free, *others)))
    scaling = assign.plan(whole, found.scalings, now, present.limits).scalings[uid]
    [decision] = record.build_status(None, scaling, now).decisions
    return Supposed(decision, tuple(_tell(spec, scaling, rate, found.readings[uid].shed.value or 0.0)))


def _sort(services: tuple[triton_service.TritonService, ...]) -> tuple[triton_service.TritonService, ...]:
    """In the snapshot's order, by which rooms are given away."""
    return tuple(sorted(services, key=lambda one: (one.metadata.namespace, one.metadata.name)))


def _free(
    service: triton_service.TritonService, spec: autoscaling.Autoscaling
) -> triton_service.TritonService:
    """The service without what only time lifts; what is disabled stays so."""

    def lift(rules: autoscaling.ScalingRules) -> autoscaling.ScalingRules:
        select = "Disabled" if rules.select_policy == "Disabled" else "Max"
        free = {"stabilization_window_seconds": 0, "policies": [_FREE], "select_policy": select}
        return rules.model_copy(update=free)

    rules = autoscaling.Behavior(
        scale_up=lift(spec.behavior.scale_up), scale_down=lift(spec.behavior.scale_down)
    )
    lifted = spec.model_copy(update={"behavior": rules})
    return service.model_copy(update={"spec": service.spec.model_copy(update={"autoscaling": lifted})})


def _forget_windows(known: memories.Remembered | None, now: datetime.datetime) -> memories.Remembered | None:
    """What was learnt, without what holds a number back for a time."""
    if known is None:
        return None
    windows = behavior.Memory(since_s=0.0, lacking_since_s=known.windows.lacking_since_s)
    long_ago_s = now.timestamp() - datetime.timedelta(days=2).total_seconds()
    return dataclasses.replace(known, windows=windows, idle_since_s=long_ago_s)


def _tell(spec: autoscaling.Autoscaling, scaling: scaler.Scaling, rate: float, shed: float) -> Iterator[str]:
    """What the answer does not know."""
    if rate == 1.0:
        return
    if scaling.before == 0:
        yield "no server runs, so no load is seen that could be multiplied"
        return
    for target in spec.targets:
        if target.signal in _UNKNOWN and rate > 0:
            yield f"how {target.signal} follows the load is not known: it was weighed with its present value"
    if shed > 0:
        yield "refused requests were multiplied with the others: how many would be refused is not known"
