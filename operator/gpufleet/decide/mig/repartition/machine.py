"""What happens to one node next. A pure function of what the cluster shows: nothing is remembered elsewhere.

Fenced → Applying → done, or → RollingBack → done and held, or → HandedOver until the node is whole by itself.
"""

from __future__ import annotations

import datetime

from gpufleet.decide.mig.repartition import facts as reading
from gpufleet.decide.mig.repartition import reasons, records, words
from gpufleet.decide.mig.repartition.holders import Holder
from gpufleet.decide.mig.repartition.steps import IDLE, Context, Step, Verdict
from gpufleet.state import mig


def advance(facts: reading.Facts, context: Context, now: datetime.datetime) -> Verdict:
    """The node's state, and its next step if there is one now."""
    if facts.change is None:
        return _rest(facts, context, now)
    handlers = {"Fenced": _fenced, "Applying": _applying, "RollingBack": _rolling_back}
    return handlers.get(facts.change.phase, _handed_over)(facts, facts.change, context, now)


def _rest(facts: reading.Facts, context: Context, now: datetime.datetime) -> Verdict:
    if facts.is_broken or facts.node.is_fenced:
        reason = reasons.RECORD_UNREADABLE if facts.is_broken else reasons.FENCE_ORPHANED
        said = words.explain(reason, facts)
        if facts.state == "pending":
            return Verdict(IDLE, reason, said)
        return Verdict(IDLE, reason, said, Step("Repair", records.repair()))
    target = context.target
    if target is None or target == facts.layout:
        settled = (reasons.SETTLED, "nothing is to be changed here")
        held = facts.problem or _find_hold(facts, now) or settled
        return Verdict(IDLE, *held)
    if against := facts.problem or _find_hold(facts, now) or context.against:
        return Verdict(IDLE, *against)
    patch = records.begin(facts, context.pool, target, now)
    said = words.explain_begin(facts, target)
    return Verdict("Fenced", reasons.FENCED, said, Step("Begin", patch), context.limits.settle_s)


def _find_hold(facts: reading.Facts, now: datetime.datetime) -> reading.Trouble | None:
    hold = facts.hold
    if hold is None or now >= hold.until:
        return None
    return reasons.HELD, words.explain_hold(facts, hold)


def _fenced(facts: reading.Facts, change: mig.Change, context: Context, now: datetime.datetime) -> Verdict:
    age_s = (now - change.began).total_seconds()
    if given_up := _find_end(facts, change, context):
        patience_s = 0.0 if given_up == reasons.NO_LONGER_WANTED else context.limits.hold_s
        return _give_back(facts, change, given_up, context, now, patience_s)
    holders = facts.find_holders(facts.find_affected(change.back, change.to))
    waits = _find_wait(facts, change, context, holders, now)
    if waits is not None and age_s > context.drain_timeout_s:
        reason = reasons.PODS_DO_NOT_LEAVE if holders else waits.reason
        return _give_back(facts, change, reason, context, now, context.limits.hold_s)
    if waits is not None:
        return waits
    said = words.explain(reasons.LABELLED, facts)
    return Verdict("Applying", reasons.LABELLED, said, Step("Label", records.label(facts, change, now)))


def _find_end(facts: reading.Facts, change: mig.Change, context: Context) -> str | None:
    """Why a change that has touched nothing yet is given up."""
    node = facts.node
    if not node.is_fenced:
        return reasons.FENCE_REMOVED
    if facts.label != change.label_before:
        return reasons.LABEL_EDITED
    if node.unschedulable:
        return reasons.NODE_CORDONED
    if node.claimable:
        return reasons.SLICES_BY_CLAIM
    if node.boot_id != change.boot_id:
        return reasons.NODE_REBOOTED
    if facts.layout is not None and change.back is not None and facts.layout != change.back:
        return reasons.GPUS_CHANGED
    return None if context.needed else reasons.NO_LONGER_WANTED


def _find_wait(
    facts: reading.Facts,
    change: mig.Change,
    context: Context,
    holders: tuple[Holder, ...],
    now: datetime.datetime,
) -> Verdict | None:
    """What a fenced node waits for, with what can be done meanwhile; None where it may be labelled."""

    def wait(reason: str, step: Step | None = None, again_s: float | None = None) -> Verdict:
        return Verdict(
            "Fenced", reason, words.explain_wait(reason, facts, holders, context.namespace), step, again_s
        )

    limits = context.limits
    settled_s = (now - change.began).total_seconds()
    is_published = {change.config, change.back_config or change.config} <= context.published
    if not facts.node.ready:
        return wait(reasons.NODE_NOT_READY, None, limits.grace_s)
    if change.published is None and is_published:
        return wait(reasons.AWAITING_CONFIG, Step("Note", records.note_published(change, now)))
    if settled_s < limits.settle_s:
        return wait(reasons.FENCED, None, limits.settle_s - settled_s)
    if facts.layout is None and change.back is not None:
        return wait(reasons.DEVICE_MAP_MISSING, None, limits.grace_s)
    if facts.node.devices is not None and facts.node.devices.token != change.token:
        return wait(reasons.AWAITING_AGENT, None, limits.grace_s)
    if holders:
        movable = [one.pod for one in holders if one.pod and one.can_go and not one.is_leaving]
        if context.drains and movable:
            cut = records.note_cut(facts, change, now)
            return wait(reasons.DRAINING, Step("Evict", cut, tuple(movable)), limits.grace_s)
        return wait(reasons.AWAITING_PODS, None, limits.grace_s)
    if change.published is None:
        return wait(reasons.AWAITING_CONFIG, None, limits.grace_s)
    if not is_published:
        return wait(reasons.AWAITING_CONFIG, Step("Note", records.note_published(change, None)))
    shown_s = (now - change.published).total_seconds()
    if shown_s < limits.config_settle_s:
        return wait(reasons.AWAITING_CONFIG, None, limits.config_settle_s - shown_s)
    return None


def _give_back(
    facts: reading.Facts,
    change: mig.Change,
    reason: str,
    context: Context,
    now: datetime.datetime,
    hold_s: float,
) -> Verdict:
    """The fence goes, the layout stays as it is; nothing begins here for a while."""
    hold = records.build_hold(facts, reason, now, hold_s, context.limits.longest_hold_s) if hold_s else None
    patch = records.give_back(change, hold)
    return Verdict(IDLE, reason, words.explain(reason, facts, context.namespace), Step("GiveBack", patch))


def _applying(facts: reading.Facts, change: mig.Change, context: Context, now: datetime.datetime) -> Verdict:
    """Labelled: the state, the instances and what the node offers have to agree in the end."""
    if facts.label != change.config:
        return _yield_to_person(facts, change, context, now)
    if waits := _confirm(facts, change, context, now, is_done=_is_done(facts, change.to)):
        return waits
    if change.agreed is not None:
        patch = records.finish(change)
        return Verdict(IDLE, reasons.REPARTITIONED, words.explain_done(facts, change), Step("Finish", patch))
    trouble = _find_trouble(facts, change.to, change, context, now)
    if trouble is None:
        return _wait_for_manager(facts, change, context)
    said = words.explain(trouble, facts, context.namespace)
    if not _can_go_back(facts, change):
        return Verdict("HandedOver", trouble, said, Step("HandOver", records.hand_over(change, trouble, now)))
    back = change.back or mig.Layout()
    if holders := facts.find_holders(facts.find_affected(facts.layout, back)):
        return _wait_to_roll_back(facts, change, trouble, holders, context, now)
    return Verdict("RollingBack", trouble, said, Step("RollBack", records.roll_back(change, trouble, now)))


def _wait_to_roll_back(
    facts: reading.Facts,
    change: mig.Change,
    trouble: str,
    holders: tuple[Holder, ...],
    context: Context,
    now: datetime.datetime,
) -> Verdict:
    """A pod has come past the fence: it is not disturbed, and the node waits for it, or for a person."""
    said = words.explain_wait(reasons.AWAITING_PODS, facts, holders, context.namespace)
    if (now - change.since).total_seconds() > context.limits.apply_s + context.drain_timeout_s:
        step = Step("HandOver", records.hand_over(change, trouble, now))
        return Verdict("HandedOver", trouble, said, step)
    return Verdict("Applying", trouble, said, None, context.limits.grace_s)


def _rolling_back(
    facts: reading.Facts, change: mig.Change, context: Context, now: datetime.datetime
) -> Verdict:
    if facts.label != change.back_config:
        return _yield_to_person(facts, change, context, now)
    back = change.back or mig.Layout()
    limits = context.limits
    if waits := _confirm(facts, change, context, now, is_done=_is_done(facts, back)):
        return waits
    if change.agreed is not None:
        hold = records.build_hold(facts, change.trouble, now, limits.hold_s, limits.longest_hold_s)
        said = words.explain_rolled_back(facts, change, hold)
        return Verdict(IDLE, reasons.ROLLED_BACK, said, Step("Finish", records.finish(change, hold)))
    trouble = _find_trouble(facts, back, change, context, now)
    if trouble is None:
        said = words.explain_wait(reasons.ROLLING_BACK, facts, (), context.namespace)
        return Verdict("RollingBack", reasons.ROLLING_BACK, said, None, limits.grace_s)
    if trouble == reasons.CONFIGURATION_FAILED:
        trouble = reasons.ROLLBACK_FAILED
    said = words.explain(trouble, facts, context.namespace)
    return Verdict("HandedOver", trouble, said, Step("HandOver", records.hand_over(change, trouble, now)))


def _handed_over(
    facts: reading.Facts, change: mig.Change, context: Context, now: datetime.datetime
) -> Verdict:
    """A person is at work; as soon as the node is whole, with whatever layout, it is given back."""
    is_quiet = facts.state in (reading.SUCCESS, reading.FAILED) and not facts.paused
    is_whole = facts.layout is not None and reading.offers(facts.node, facts.layout)
    is_done = facts.node.ready and is_quiet and is_whole
    if waits := _confirm(facts, change, context, now, is_done=is_done):
        return waits
    if change.agreed is not None:
        return _give_back(facts, change, reasons.RECOVERED, context, now, context.limits.hold_s)
    said = words.explain_handed_over(change.trouble, facts, context.namespace)
    return Verdict("HandedOver", change.trouble or reasons.HANDED_OVER, said, None, context.limits.grace_s)


def _confirm(
    facts: reading.Facts, change: mig.Change, context: Context, now: datetime.datetime, *, is_done: bool
) -> Verdict | None:
    """What is said to be done has to be so for a while: parts of it may speak of what was before.

    None where it has been, and where it is not done.
    """
    agreed = change.agreed
    if is_done and agreed is not None:
        left_s = context.limits.confirm_s - (now - agreed).total_seconds()
        if left_s <= 0:
            return None
        said = words.explain_wait(reasons.VERIFYING, facts, (), context.namespace)
        return Verdict(change.phase, reasons.VERIFYING, said, None, left_s)
    if not is_done and agreed is None:
        return None
    said = words.explain_wait(reasons.VERIFYING, facts, (), context.namespace)
    step = Step("Note", records.note_agreed(change, now if is_done else None))
    return Verdict(change.phase, reasons.VERIFYING, said, step, context.limits.confirm_s)


def _yield_to_person(
    facts: reading.Facts, change: mig.Change, context: Context, now: datetime.datetime
) -> Verdict:
    """Somebody else has labelled the node meanwhile: theirs is carried out, then the node is theirs."""
    reason, limits = reasons.LABEL_EDITED, context.limits
    is_over = facts.state in (reading.SUCCESS, reading.FAILED)
    if not is_over and (now - change.since).total_seconds() < limits.apply_s:
        said = words.explain(reason, facts, context.namespace)
        return Verdict(change.phase, reason, said, None, limits.grace_s)
    return _give_back(facts, change, reason, context, now, limits.hold_s)


def _wait_for_manager(facts: reading.Facts, change: mig.Change, context: Context) -> Verdict:
    reason = reasons.VERIFYING if facts.state == reading.SUCCESS else reasons.PENDING
    if not facts.node.ready:
        reason = reasons.NODE_NOT_READY
    elif facts.node.boot_id != change.boot_id:
        reason = reasons.NODE_REBOOTED
    said = words.explain_wait(reason, facts, (), context.namespace)
    return Verdict("Applying", reason, said, None, context.limits.grace_s)


def _is_done(facts: reading.Facts, layout: mig.Layout) -> bool:
    """Said, made and offered."""
    if facts.state != reading.SUCCESS or not facts.node.ready or facts.paused:
        return False
    made = facts.layout == layout if facts.node.devices is not None else True
    return made and reading.offers(facts.node, layout)


def _find_trouble(
    facts: reading.Facts,
    layout: mig.Layout,
    change: mig.Change,
    context: Context,
    now: datetime.datetime,
) -> str | None:
    """Why the layout will not come about; None while it may."""
    passed_s = (now - change.since).total_seconds()
    if not facts.node.ready:
        return None
    if facts.state == reading.FAILED and passed_s > context.limits.grace_s:
        return reasons.CONFIGURATION_FAILED
    if passed_s <= context.limits.apply_s:
        return None
    if facts.state != reading.SUCCESS:
        return reasons.STUCK_PENDING
    if facts.paused:
        return reasons.DEPLOY_PAUSED
    return reasons.NOT_ADVERTISED if facts.layout == layout else reasons.LAYOUT_DIFFERS


def _can_go_back(facts: reading.Facts, change: mig.Change) -> bool:
    """Where the layout before is known, and the GPUs are still those."""
    if change.back is None or not change.back_config:
        return False
    return facts.layout is None or facts.layout.by_index.keys() == change.back.by_index.keys()
