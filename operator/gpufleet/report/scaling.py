"""What a pass has decided of all scaled services, as sums that an alert can watch."""

from __future__ import annotations

from collections import Counter

from gpufleet.decide.autoscaling import memories, policy, scaler
from gpufleet.decide.placement import disruption
from gpufleet.report import metrics

MODES = ("Active", "Advisory")
TYPES = ("Ok", "Idle", "Stale", "Missing", "Partial")
WATCHED = (
    policy.NO_EVIDENCE,
    policy.CAPACITY_UNKNOWN,
    policy.PODS_STARTING,
    memories.PODS_OVERDUE,
    scaler.AT_MAXIMUM,
    scaler.NO_ROOM,
    scaler.INVENTORY_UNKNOWN,
    scaler.DISRUPTION_BUDGET,
    scaler.SURGE_LIMIT,
)
"""Reasons that are 0 where nobody has them: a series that is not there alerts nobody."""


def note(found: memories.Pass, ledger: disruption.Ledger) -> None:
    """Sets the gauges; what no service has any more is gone or 0."""
    metrics.DISRUPTION_LIMIT.set(ledger.limit_gpus)
    for act in disruption.ACTS:
        metrics.DISRUPTION_GPUS.labels(act).set(ledger.spent.get(act, 0.0))
    types = Counter((one.mode, found.readings[uid].offered.kind) for uid, one in found.scalings.items())
    for mode in MODES:
        scaled = [one for one in found.scalings.values() if one.mode == mode]
        metrics.AUTOSCALER_SERVERS.labels(mode).set(sum(one.before for one in scaled))
        metrics.AUTOSCALER_WANTED.labels(mode).set(sum(one.wanted for one in scaled))
        metrics.AUTOSCALER_GRANTED.labels(mode).set(sum(one.replicas for one in scaled))
        for type_ in TYPES:
            metrics.AUTOSCALER_SERVICES.labels(mode, type_).set(types[mode, type_])  # type: ignore[index]
    held = Counter(reason for one in found.scalings.values() for reason in _reasons(one))
    metrics.AUTOSCALER_HELD.clear()
    for reason in {*WATCHED, *held}:
        metrics.AUTOSCALER_HELD.labels(reason).set(held[reason])


def _reasons(scaling: scaler.Scaling) -> set[str]:
    troubles = (scaling.trouble[0],) if scaling.trouble else ()
    return {*troubles, *(one.reason for one in scaling.clamps)}
