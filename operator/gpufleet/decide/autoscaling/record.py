"""The record of decisions: what was decided, from what, and why, in a word and in a sentence."""

from __future__ import annotations

import datetime

from gpufleet.api import autoscaling
from gpufleet.decide.autoscaling import policy, scaler, sleep

_TOLD = (
    policy.NO_EVIDENCE,
    policy.CAPACITY_UNKNOWN,
    policy.PODS_STARTING,
    scaler.AT_MAXIMUM,
    scaler.NO_ROOM,
    scaler.INVENTORY_UNKNOWN,
    scaler.DISRUPTION_BUDGET,
    scaler.SURGE_LIMIT,
)
"""Why a number stays that should move; rates and windows pass by themselves."""
_RAISES = (scaler.SCHEDULED, sleep.WOKEN)
"""Floors that are the cause of a growth, where no signal is."""
KEPT = 10
"""Decisions that the record has room for."""


def build_status(
    before: autoscaling.AutoscalingStatus | None, scaling: scaler.Scaling, now: datetime.datetime
) -> autoscaling.AutoscalingStatus:
    """The record with this decision in front, where it decides anything new."""
    decided = _decide(scaling, now)
    kept = list(before.decisions) if before else []
    newest = kept[0] if kept else None
    is_new = newest is None or (newest.replicas, newest.reason) != (decided.replicas, decided.reason)
    has_moved = decided.reason in (scaler.SCALED_UP, scaler.SCALED_DOWN)
    # After a move the number stands: that is no news of its own.
    is_rest = (
        decided.reason == scaler.STEADY
        and newest is not None
        and newest.reason in (scaler.SCALED_UP, scaler.SCALED_DOWN)
    )
    is_rest = is_rest or (decided.reason == scaler.AWAITING_SAMPLES and newest is not None)
    if has_moved and scaling.mode == "Advisory" and newest is not None and not is_new:
        has_moved = False
    if has_moved or (is_new and not is_rest):
        kept = _trim([decided, *kept], now)
    return autoscaling.AutoscalingStatus(
        mode=scaling.mode, replicas=scaling.replicas, decisions=kept, woken=scaling.mark
    )


def counts(decision: autoscaling.ScalingDecision, now: datetime.datetime) -> bool:
    """Whether it counts in the disruption budget."""
    is_recent = (now - decision.time).total_seconds() < scaler.BUDGET_S
    return decision.reason == scaler.SCALED_DOWN and is_recent


def _trim(
    decisions: list[autoscaling.ScalingDecision], now: datetime.datetime
) -> list[autoscaling.ScalingDecision]:
    """The newest; of those that are too many, what the budget counts goes last."""
    while len(decisions) > KEPT:
        rest = [one for one in decisions[1:] if not counts(one, now)]
        gone = (rest or decisions)[-1]
        decisions = [one for one in decisions if one is not gone]
    return decisions


def _decide(scaling: scaler.Scaling, now: datetime.datetime) -> autoscaling.ScalingDecision:
    reason, message = _explain(scaling)
    return autoscaling.ScalingDecision(
        time=now.replace(microsecond=0),
        before=scaling.before,
        wanted=scaling.wanted,
        replicas=scaling.replicas,
        reason=reason,
        message=message[:1024],
        inputs=list(scaling.inputs),
        demand=scaling.demand,
        clamps=list(scaling.clamps),
    )


def _explain(scaling: scaler.Scaling) -> tuple[str, str]:
    """The reason in a word and in a sentence."""
    told = next((one for one in reversed(scaling.clamps) if one.reason in _TOLD), None)
    awaited = next((one for one in scaling.clamps if one.reason == scaler.AWAITING_SAMPLES), None)
    if scaling.replicas == scaling.before:
        if awaited:
            return scaler.AWAITING_SAMPLES, awaited.message
        if told:
            return told.reason, told.message
        if scaling.trouble:
            return scaling.trouble
        return scaler.STEADY, "the servers that are there are enough"
    more = f"; {told.message}" if told else ""
    grows = scaling.replicas > scaling.before
    return (
        scaler.SCALED_UP if grows else scaler.SCALED_DOWN,
        f"from {scaling.before} to {scaling.replicas} servers: {_find_cause(scaling)}{more}",
    )


def _find_cause(scaling: scaler.Scaling) -> str:
    """What asked for the number."""
    raised = next((one for one in scaling.clamps if one.reason in _RAISES), None)
    if raised and scaling.replicas > scaling.before:
        return raised.message
    if scaling.leading == policy.SHED_LOAD:
        return "servers refuse requests because their queues are full"
    if scaling.leading == policy.OBJECTIVE:
        return scaling.aim
    leading = next((one for one in scaling.inputs if one.signal == scaling.leading), None)
    if leading:
        return f"{leading.signal} is {_tell(leading)}, its target {leading.target:g}"
    return "nobody asks" if scaling.replicas == 0 else "its bounds"


def _tell(one: autoscaling.Input) -> str:
    return "idle" if one.type == "Idle" else "unknown" if one.value is None else f"{one.value:g}"
