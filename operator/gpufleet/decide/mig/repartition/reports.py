"""What is told of a round: where each node is and why, and the aggregates of each pool."""

from __future__ import annotations

import collections
import dataclasses
import datetime
from collections.abc import Iterator, Mapping

from gpufleet.api import gpu_pool, mig_policy
from gpufleet.decide.mig.planning import values
from gpufleet.decide.mig.repartition import facts as reading
from gpufleet.decide.mig.repartition import pools, reasons
from gpufleet.decide.mig.repartition.steps import Context, Verdict
from gpufleet.state import mig


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
class GpuPlan:
    """A GPU that is to be cut anew: its slices before and after, None where MIG is off."""

    index: int
    before: mig.Counts | None
    after: mig.Counts | None
    cost: float | None = None
    """As `values.Recipe` counts it; None for a change that has begun: it was counted then."""
    moved: int = 0
    reason: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class NodePlan:
    """A node that is to be cut anew, or is being cut, and what it does or waits for."""

    node: str
    phase: str
    reason: str
    message: str
    gpus: tuple[GpuPlan, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class PoolReport:
    """A pool's aggregates; `plan.at` is left to who knows what was told before."""

    pool: gpu_pool.GPUPool
    status: mig_policy.MigStatus
    nodes: tuple[NodePlan, ...] = ()
    outcomes: tuple[values.Outcome, ...] = ()
    left_alone: tuple[mig_policy.NodesFor, ...] = ()
    """Why other nodes were not planned for."""


def of_node(one: reading.Facts, context: Context | None, verdict: Verdict) -> NodeReport:
    pool = context.pool if context else (one.change.pool if one.change else "")
    since = one.change.since if one.change else None
    return NodeReport(one.node.name, pool, verdict.phase, verdict.reason, verdict.message, since)


def of_pool(case: pools.Case, wish: pools.Wish, verdicts: Mapping[str, Verdict]) -> PoolReport:
    kept: dict[str, list[str]] = collections.defaultdict(list)
    alone: dict[str, list[str]] = collections.defaultdict(list)
    for one in case.nodes:
        name, verdict = one.node.name, verdicts[one.node.name]
        if one.change is None and verdict.reason != reasons.SETTLED and verdict.step is None:
            kept[verdict.reason].append(name)
            if name not in wish.targets:
                alone[verdict.reason].append(name)
    plan = mig_policy.LastPlan(
        reason=wish.reason, message=wish.message[:1024], gpus=wish.gpus, nodes=len(wish.targets)
    )
    status = mig_policy.MigStatus(
        profiles=pools.count_use(case)[:64],
        nodes_in_flight=sum(one.change is not None for one in case.nodes),
        fragmentation_percent=round(100 * wish.fragmentation),
        plan=plan,
        kept_out=_count(kept)[:32],
    )
    nodes = tuple(_plan_nodes(case, wish, verdicts))
    return PoolReport(case.pool, status, nodes, wish.outcomes, tuple(_count(alone)))


def _count(nodes: Mapping[str, list[str]]) -> list[mig_policy.NodesFor]:
    return [
        mig_policy.NodesFor(reason=reason, nodes=len(mine), example=min(mine))
        for reason, mine in sorted(nodes.items())
    ]


def _plan_nodes(case: pools.Case, wish: pools.Wish, verdicts: Mapping[str, Verdict]) -> Iterator[NodePlan]:
    changes = {(one.node, one.index): one for one in wish.changes}
    for one in sorted(case.nodes, key=lambda it: it.node.name):
        name, verdict = one.node.name, verdicts[one.node.name]
        target = wish.targets.get(name)
        if one.change is not None:
            gpus = tuple(_plan_gpus(name, one.change.back, one.change.to, {}))
        elif target is not None:
            gpus = tuple(_plan_gpus(name, one.layout, target, changes))
        else:
            continue
        is_next = one.change is None and verdict.step is not None
        message = "nothing keeps it from beginning" if is_next else verdict.message
        yield NodePlan(name, verdict.phase, verdict.reason, message, gpus)


def _plan_gpus(
    node: str,
    before: mig.Layout | None,
    after: mig.Layout,
    changes: Mapping[tuple[str, int], values.Change],
) -> Iterator[GpuPlan]:
    """Nothing where nobody knew the layout before."""
    if before is None:
        return
    for index in sorted(after.changed_from(before)):
        was, will = before.by_index.get(index), after.by_index.get(index)
        if change := changes.get((node, index)):
            recipe = change.recipe
            yield GpuPlan(index, was, will, recipe.cost, recipe.moved, change.reason)
        else:
            yield GpuPlan(index, was, will)
