"""What would change the number of servers: by reason, and by how far the load is from the next server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gpufleet.api import autoscaling
from gpufleet.decide.autoscaling import policy
from gpufleet.state import names

BY_REASON: Mapping[str, str] = {
    "AtMaximum": "A higher maxReplicas would let it grow.",
    "AtMinimum": "A lower minReplicas would let it shrink.",
    "AwaitingSamples": "The next samples decide; until then the number stays.",
    "CapacityUnknown": "Some minutes of load, or gpufleet profile, tell what a server carries.",
    "DisruptionBudget": "It goes on within the hour, as autoscaling.disruptionGpusPerHour allows.",
    "InventoryUnknown": "A first node of the pool tells what its nodes offer.",
    "NoEvidence": "Samples of every ready server would let it shrink again.",
    "NoRoom": "Free accelerators, or more nodes, would let it grow.",
    "NotIdleForLong": "Once nobody has asked for idleSeconds, the last server goes.",
    "PodsOverdue": "The pods that do not become ready have to be looked at.",
    "PodsStarting": "Once the servers that start are ready, the signals count again.",
    "ScaleDownDisabled": "Another behavior.scaleDown.selectPolicy would let it shrink.",
    "ScaleDownRate": "It goes on shrinking as behavior.scaleDown allows.",
    "ScaleDownStabilized": "It shrinks once the window of behavior.scaleDown needs no more.",
    "ScaleUpDisabled": "Another behavior.scaleUp.selectPolicy would let it grow.",
    "ScaleUpRate": "It goes on growing as behavior.scaleUp allows.",
    "ScaleUpStabilized": "It grows once all of behavior.scaleUp's window has asked for it.",
    "ScaledToZero": f"kubectl annotate --overwrite tsvc/NAME {names.WAKE_ANNOTATION}=$(date +%s) wakes it.",
    "Scheduled": "The end of the schedule lets it shrink.",
    "SurgeLimit": "Once servers of the fleet that start are ready, more may start.",
    "Woken": "It sleeps again once nobody has asked for idleSeconds.",
}
"""What ends each of them; a number that simply moved needs nothing."""


def find(decision: autoscaling.ScalingDecision, spec: autoscaling.Autoscaling) -> Iterator[str]:
    """Sentences; those on load hold for as many servers as the decision gives, once all are ready."""
    reasons = dict.fromkeys((decision.reason, *(one.reason for one in decision.clamps)))
    yield from (BY_REASON[one] for one in reasons if one in BY_REASON)
    servers = decision.replicas
    if servers == 0:
        return
    if decision.demand is not None:
        yield _describe(
            "requests per second", *_bounds_of_objective(decision.demand, spec, servers), servers, spec
        )
    for target in spec.targets:
        up, down = spec.behavior.scale_up.tolerance_percent, spec.behavior.scale_down.tolerance_percent
        above = target.value * (1 + up / 100)
        below = target.value * min(1 - down / 100, (servers - 1) / servers)
        yield _describe(f"of {target.signal}", above, below, servers, spec)


def _bounds_of_objective(
    demand: autoscaling.Demand, spec: autoscaling.Autoscaling, servers: int
) -> tuple[float, float]:
    """(above which one more is needed, from which downwards one fewer is enough)"""
    provided = max(demand.offered, demand.expected + demand.margin)
    share = demand.offered / provided if provided > 0 else 1.0
    fewer = (servers - 1) * demand.capacity
    enough = fewer / (1 + spec.behavior.scale_down.tolerance_percent / 100)
    if demand.noise is not None:
        enough = max(0.0, fewer - policy.NOISE_SPARE * demand.noise)
    return servers * demand.capacity * share, enough * share


def _describe(what: str, above: float, below: float, servers: int, spec: autoscaling.Autoscaling) -> str:
    grows = f"More than {above:.4g} {what} need another server" if servers < spec.max_replicas else ""
    shrinks = f"{below:.4g} or less need one fewer" if servers > max(1, spec.min_replicas) else ""
    said = ", ".join(one for one in (grows, shrinks) if one)
    return f"{said}." if said else "Its bounds leave no other number while anybody asks."
