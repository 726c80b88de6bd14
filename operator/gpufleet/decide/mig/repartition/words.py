"""Sentences about a node that is changed: what it waits for, and the command where a person is needed."""

from __future__ import annotations

from collections.abc import Sequence

from gpufleet.decide.mig.repartition import facts as reading
from gpufleet.decide.mig.repartition import reasons
from gpufleet.decide.mig.repartition.holders import Holder
from gpufleet.state import mig, names

_MOST_NAMED = 3

_EXPLAINED = {
    reasons.RECORD_UNREADABLE: (
        "node {node}: the record of its change cannot be read and is removed, and so is the fence; "
        "its label and layout stay"
    ),
    reasons.RECOVERED: "node {node}: its GPUs are whole again ({now}), so it is given back",
    reasons.FENCE_ORPHANED: "node {node} is fenced without a change; the fence is removed",
    reasons.LABELLED: "node {node}: nobody holds a GPU that changes; mig-manager is asked",
    reasons.FENCE_REMOVED: "node {node}: somebody has removed its fence, so it is not changed",
    reasons.LABEL_EDITED: (
        "node {node}: somebody else has set nvidia.com/mig.config to {label}; that holds. Leave the "
        "label alone on nodes of this pool, or set spec.mig.mode: Off"
    ),
    reasons.NODE_CORDONED: "node {node} was cordoned, so it is not changed: kubectl uncordon {node}",
    reasons.SLICES_BY_CLAIM: "node {node}: a DRA driver makes its slices now, so it is not changed",
    reasons.NODE_REBOOTED: "node {node} was rebooted; it is planned anew",
    reasons.GPUS_CHANGED: (
        "node {node}: its GPUs or their instances are others than when the change began; it is planned anew"
    ),
    reasons.NO_LONGER_WANTED: "node {node}: nothing waits for the new layout any more",
    reasons.PODS_DO_NOT_LEAVE: (
        "node {node}: pods still hold GPUs that were to change: {holders}. It is given back; to "
        "change it, end them, or set spec.mig.drainPolicy: Drain"
    ),
    reasons.NODE_NOT_READY: "node {node} is not Ready: kubectl describe node {node}",
    reasons.AWAITING_CONFIG: "node {node}: its configurations are not in mig-manager's ConfigMap",
    reasons.DEVICE_MAP_MISSING: (
        "node {node}: nobody says any more which pod holds which GPU: is the node agent running?"
    ),
    reasons.STUCK_PENDING: (
        "node {node}: mig-manager has not finished {label}: kubectl -n {namespace} delete pod -l "
        "app=nvidia-mig-manager --field-selector spec.nodeName={node}"
    ),
    reasons.CONFIGURATION_FAILED: (
        "node {node}: mig-manager failed with {label}: kubectl -n {namespace} logs -l "
        "app=nvidia-mig-manager --tail=100"
    ),
    reasons.ROLLBACK_FAILED: (
        "node {node}: the layout before could not be restored either; it stays fenced until its GPUs "
        "are whole: kubectl -n {namespace} logs -l app=nvidia-mig-manager --tail=100"
    ),
    reasons.LAYOUT_DIFFERS: (
        "node {node}: mig-manager says success, the GPUs have {now}: nvidia-smi mig -lgi on the node"
    ),
    reasons.NOT_ADVERTISED: (
        "node {node}: the instances are there, the node offers others: kubectl -n {namespace} delete "
        "pod -l app=nvidia-device-plugin-daemonset --field-selector spec.nodeName={node}"
    ),
    reasons.DEPLOY_PAUSED: (
        "node {node}: mig-manager has left parts of the GPU operator paused: kubectl label node "
        "{node} --overwrite {paused}"
    ),
    reasons.HANDED_OVER: (
        "node {node} stays fenced until its GPUs are whole; to have it back as it is: kubectl "
        "annotate node {node} {key}-"
    ),
}

_WAITS = {
    reasons.FENCED: "node {node} is fenced; pods that the scheduler placed before that may still come",
    reasons.AWAITING_PODS: ("node {node}: waits for {holders}, which hold GPUs that change or may hold any"),
    reasons.DRAINING: "node {node}: asks {holders} to go, as PodDisruptionBudgets allow",
    reasons.AWAITING_AGENT: (
        "node {node}: waits until its node agent has looked again, now that no pod can come: is it running?"
    ),
    reasons.AWAITING_CONFIG: "node {node}: waits until mig-manager can read its configurations",
    reasons.PENDING: "node {node}: waits for mig-manager ({state})",
    reasons.VERIFYING: (
        "node {node}: mig-manager has succeeded; waits until the instances are there and offered"
    ),
    reasons.ROLLING_BACK: "node {node}: goes back to the layout before ({state})",
    reasons.NODE_REBOOTED: "node {node} was rebooted; mig-manager makes what the label says",
}


def explain(reason: str, facts: reading.Facts, namespace: str = "") -> str:
    """One node's reason as a sentence, with the command that helps."""
    holders = facts.find_holders(facts.holders)
    return _fill(_EXPLAINED.get(reason, "node {node}: " + reason), facts, holders, namespace)


def explain_wait(reason: str, facts: reading.Facts, holders: Sequence[Holder], namespace: str) -> str:
    """What it waits for."""
    return _fill(_WAITS.get(reason) or _EXPLAINED.get(reason, "{node}"), facts, holders, namespace)


def explain_handed_over(trouble: str, facts: reading.Facts, namespace: str) -> str:
    """What is wrong, what helps, and how to have the node back at once."""
    first = f"{explain(trouble, facts, namespace)}; " if trouble else ""
    return first + explain(reasons.HANDED_OVER, facts, namespace)


def explain_begin(facts: reading.Facts, target: mig.Layout) -> str:
    """What is about to change."""
    return f"node {facts.node.name} is fenced to be cut anew: {describe_change(facts.layout, target)}"


def explain_done(facts: reading.Facts, change: mig.Change) -> str:
    return f"node {facts.node.name} is cut anew: {describe_change(change.back, change.to)}"


def explain_rolled_back(facts: reading.Facts, change: mig.Change, hold: mig.Hold) -> str:
    return (
        f"node {facts.node.name} has the layout before again, because of {change.trouble}; no change begins "
        f"on it until {hold.until.isoformat(timespec='seconds')}"
    )


def explain_hold(facts: reading.Facts, hold: mig.Hold) -> str:
    return (
        f"node {facts.node.name}: {hold.attempts} changes in a row came to nothing, the last by "
        f"{hold.reason}; the next may begin at {hold.until.isoformat(timespec='seconds')}, or now: "
        f"kubectl annotate node {facts.node.name} {names.MIG_HOLD_ANNOTATION}-"
    )


def describe_change(before: mig.Layout | None, after: mig.Layout) -> str:
    """GPU by GPU, as far as they differ."""
    old = before.by_index if before else {}
    parts = [
        f"GPU {index} {_cut(old[index]) if index in old else 'unknown'} → {_cut(after.by_index.get(index))}"
        for index in sorted(after.changed_from(before or mig.Layout()))
    ]
    more = f" and {len(parts) - _MOST_NAMED} more" if len(parts) > _MOST_NAMED else ""
    return "; ".join(parts[:_MOST_NAMED]) + more


def _cut(slices: mig.Counts | None) -> str:
    if slices is None:
        return "whole"
    return ", ".join(f"{number} × {name}" for name, number in slices) or "empty"


def _fill(text: str, facts: reading.Facts, holders: Sequence[Holder], namespace: str) -> str:
    named = ", ".join(one.name for one in holders[:_MOST_NAMED])
    more = f" and {len(holders) - _MOST_NAMED} more" if len(holders) > _MOST_NAMED else ""
    return text.format(
        node=facts.node.name,
        label=facts.label or "nothing",
        state=facts.state or "not taken up yet",
        namespace=namespace or "gpu-operator",
        holders=(named + more) or "nobody",
        now=reading.describe(facts.layout.totals) if facts.layout else "an unknown layout",
        key=names.MIG_CHANGE_ANNOTATION,
        paused=" ".join(f"{key}=true" for key in facts.paused),
    )
