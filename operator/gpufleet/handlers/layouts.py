"""The read API's words on MIG layouts: /mig-plan, what a look at the fleet would do now."""

from __future__ import annotations

import datetime
from typing import Any

from gpufleet.decide.mig.planning import values
from gpufleet.decide.mig.repartition import reasons, reports, rounds
from gpufleet.state import mig


def describe(found: rounds.Round, now: datetime.datetime) -> dict[str, Any]:
    """Plans of all pools with a MIG mode, and nodes that several of them claim."""
    return {
        "at": now.isoformat(timespec="seconds"),
        "pools": [_pool(one) for one in found.pools],
        "contradictions": [one.message for one in found.nodes if one.reason == reasons.POOLS_CONTRADICT],
    }


def _pool(one: reports.PoolReport) -> dict[str, Any]:
    policy, plan = one.pool.spec.mig, one.status.plan
    return {
        "name": one.pool.metadata.name,
        "mode": policy.mode if policy else "Off",
        "act": policy.act if policy else "Advisory",
        "reason": plan.reason if plan else "",
        "message": plan.message if plan else "",
        "demand": [_outcome(it) for it in one.outcomes],
        "nodes": [_node(it) for it in one.nodes],
        "leftAlone": [it.to_wire() for it in one.left_alone],
    }


def _outcome(one: values.Outcome) -> dict[str, Any]:
    demand = one.demand
    return {
        "profile": demand.profile,
        "weight": demand.weight,
        "count": demand.count,
        "served": one.served,
    }


def _node(one: reports.NodePlan) -> dict[str, Any]:
    costs = [gpu.cost for gpu in one.gpus if gpu.cost is not None]
    return {
        "name": one.node,
        "phase": one.phase,
        "reason": one.reason,
        "message": one.message,
        "cost": round(sum(costs), 6) if costs else None,
        "moved": sum(gpu.moved for gpu in one.gpus),
        "gpus": [_gpu(gpu) for gpu in one.gpus],
    }


def _gpu(one: reports.GpuPlan) -> dict[str, Any]:
    return {
        "index": one.index,
        "before": _slices(one.before),
        "after": _slices(one.after),
        "cost": None if one.cost is None else round(one.cost, 6),
        "moved": one.moved,
        "reason": one.reason,
    }


def _slices(counts: mig.Counts | None) -> dict[str, int] | None:
    return None if counts is None else dict(counts)
