"""What is told of a round: where each node is and why, and the aggregates of each pool."""

from __future__ import annotations

import collections
import dataclasses
import datetime
from collections.abc import Mapping

from gpufleet.api import gpu_pool, mig_policy
from gpufleet.decide.mig.repartition import facts as reading
from gpufleet.decide.mig.repartition import pools, reasons
from gpufleet.decide.mig.repartition.steps import Context, Verdict


@dataclasses.dataclass(frozen=True, slots=True)
class NodeReport:
    """Where a node is and why."""

    node: str
    pool: str
    phase: str
    reason: str
    message: str
    since: datetime.datetime | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class PoolReport:
    """A pool's aggregates; `plan.at` is left to who knows what was told before."""

    pool: gpu_pool.GPUPool
    status: mig_policy.MigStatus


def of_node(one: reading.Facts, context: Context | None, verdict: Verdict) -> NodeReport:
    pool = context.pool if context else (one.change.pool if one.change else "")
    since = one.change.since if one.change else None
    return NodeReport(one.node.name, pool, verdict.phase, verdict.reason, verdict.message, since)


def of_pool(case: pools.Case, wish: pools.Wish, verdicts: Mapping[str, Verdict]) -> PoolReport:
    kept: dict[str, list[str]] = collections.defaultdict(list)
    for one in case.nodes:
        verdict = verdicts[one.node.name]
        if one.change is None and verdict.reason != reasons.SETTLED and verdict.step is None:
            kept[verdict.reason].append(one.node.name)
    plan = mig_policy.LastPlan(
        reason=wish.reason, message=wish.message[:1024], gpus=wish.gpus, nodes=len(wish.targets)
    )
    status = mig_policy.MigStatus(
        profiles=pools.count_use(case)[:64],
        nodes_in_flight=sum(one.change is not None for one in case.nodes),
        fragmentation_percent=round(100 * wish.fragmentation),
        plan=plan,
        kept_out=[
            mig_policy.NodesFor(reason=reason, nodes=len(mine), example=min(mine))
            for reason, mine in sorted(kept.items())
        ][:32],
    )
    return PoolReport(case.pool, status)
