"""GPUPool → status: how many nodes it has and what they offer."""

from __future__ import annotations

import datetime
from collections import Counter

from gpufleet.api import gpu_pool, reasons
from gpufleet.decide import status as statuses
from gpufleet.decide.mig import catalogue
from gpufleet.state import decision, fleet, names, snapshot


def decide(pool: gpu_pool.GPUPool, view: snapshot.Snapshot, now: datetime.datetime) -> decision.Decision:
    """The pool's aggregates; it writes nothing but status."""
    nodes = view.nodes_of(pool)
    ready = [node for node in nodes if node.ready]
    offered: Counter[str] = Counter()
    for node in ready:
        offered.update(node.allocatable)
    old = pool.status.conditions
    conditions = statuses.build_conditions(pool.metadata, old, reasons.READY, _judge(pool, nodes, ready), now)
    status = gpu_pool.GPUPoolStatus(
        observed_generation=pool.metadata.generation,
        conditions=conditions,
        nodes=len(nodes),
        ready_nodes=len(ready),
        resources=[
            gpu_pool.PoolResource(name=name, allocatable=count)
            for name, count in sorted(offered.items())
            if count
        ],
    )
    return decision.Decision(status=status.to_wire(), events=statuses.events_of_change(old, conditions))


def _judge(
    pool: gpu_pool.GPUPool, nodes: tuple[fleet.Node, ...], ready: list[fleet.Node]
) -> statuses.Verdict:
    wanted = pool.spec.device_class
    if wanted and not catalogue.models_of_class(wanted):
        known = ", ".join(catalogue.class_names())
        message = f"spec.deviceClass {wanted} is unknown; known are {known}"
        stuck = (reasons.UNKNOWN_DEVICE_CLASS, message)
        return statuses.Verdict(False, *stuck, stalled=stuck)
    if not nodes:
        message = "no node carries every label of spec.nodeSelector"
        return statuses.Verdict(False, reasons.NO_MATCHING_NODES, message)
    if foreign := _find_foreign(wanted, nodes):
        message = f"node {foreign.name} is a {foreign.labels.get(names.GPU_PRODUCT_LABEL)}, not a {wanted}"
        return statuses.Verdict(False, reasons.WRONG_DEVICE_CLASS, message)
    if not ready:
        return statuses.Verdict(False, reasons.NODES_NOT_READY, "none of the pool's nodes is Ready")
    return statuses.Verdict(True, reasons.POOL_READY, "nodes are Ready")


def _find_foreign(wanted: str | None, nodes: tuple[fleet.Node, ...]) -> fleet.Node | None:
    """A node whose product is known and not of the pool's class."""
    if wanted is None:
        return None
    models = catalogue.models_of_class(wanted)
    for node in nodes:
        model = catalogue.model_of_product(node.labels.get(names.GPU_PRODUCT_LABEL, ""))
        if model is not None and model not in models:
            return node
    return None
