"""The patch of each step: the record of the change, in one write with the taint or label it is about."""

from __future__ import annotations

import dataclasses
import datetime

from gpufleet.decide.autoscaling import scaler
from gpufleet.decide.mig.repartition import configs, steps
from gpufleet.decide.mig.repartition import facts as reading
from gpufleet.state import mig, names

CHANGE = names.MIG_CHANGE_ANNOTATION
WANTED = names.MIG_WANTED_ANNOTATION
HOLD = names.MIG_HOLD_ANNOTATION
CUTS = names.MIG_CUTS_ANNOTATION
REQUESTED = names.DEVICES_REQUESTED_ANNOTATION


def begin(facts: reading.Facts, pool: str, target: mig.Layout, now: datetime.datetime) -> steps.Patch:
    """Fenced, with both configurations chosen: neither may be the label's value, nor the other's name."""
    config = configs.choose_name(target, {facts.label})
    back = facts.layout
    back_config = configs.choose_name(back, {facts.label, config}) if back is not None else ""
    change = mig.Change(
        phase="Fenced",
        pool=pool,
        to=target,
        config=config,
        back=back,
        back_config=back_config,
        label_before=facts.label,
        began=now,
        since=now,
        boot_id=facts.node.boot_id,
        attempt=facts.hold.attempts + 1 if facts.hold else 1,
        affected=len(facts.find_affected(back, target)),
    )
    return steps.Patch({CHANGE: change.to_text(), REQUESTED: change.token}, fence=True)


def note_published(change: mig.Change, at: datetime.datetime | None) -> steps.Patch:
    """When both configurations were seen in the ConfigMap; None where they have gone again."""
    return steps.Patch({CHANGE: dataclasses.replace(change, published=at).to_text()})


def note_agreed(change: mig.Change, at: datetime.datetime | None) -> steps.Patch:
    """Since when all says that it is done; None where it does not any more."""
    return steps.Patch({CHANGE: dataclasses.replace(change, agreed=at).to_text()})


def note_cut(facts: reading.Facts, change: mig.Change, now: datetime.datetime) -> steps.Patch:
    """That its GPUs go now, for the disruption budget; it is told once."""
    if facts.cuts.has(change):
        return steps.Patch()
    since = now - datetime.timedelta(seconds=scaler.BUDGET_S)
    return steps.Patch({CUTS: facts.cuts.note(change, now, since).to_text()})


def label(facts: reading.Facts, change: mig.Change, now: datetime.datetime) -> steps.Patch:
    """The state that was said before is taken away with it: what comes is an answer."""
    applying = dataclasses.replace(change, phase="Applying", since=now, agreed=None)
    wanted = mig.Wanted(change.to, change.config)
    cut = note_cut(facts, change, now).annotations
    return steps.Patch(
        {CHANGE: applying.to_text(), WANTED: wanted.to_text(), **cut},
        {names.MIG_CONFIG_LABEL: change.config, names.MIG_STATE_LABEL: None},
    )


def roll_back(change: mig.Change, trouble: str, now: datetime.datetime) -> steps.Patch:
    """The same with the layout before."""
    going = dataclasses.replace(change, phase="RollingBack", since=now, agreed=None, trouble=trouble)
    before = change.back or mig.Layout()
    return steps.Patch(
        {CHANGE: going.to_text(), WANTED: mig.Wanted(before, change.back_config).to_text()},
        {names.MIG_CONFIG_LABEL: change.back_config, names.MIG_STATE_LABEL: None},
    )


def hand_over(change: mig.Change, trouble: str, now: datetime.datetime) -> steps.Patch:
    """Fenced until the node is whole."""
    handed = dataclasses.replace(change, phase="HandedOver", since=now, agreed=None, trouble=trouble)
    return steps.Patch({CHANGE: handed.to_text()})


def finish(change: mig.Change, hold: mig.Hold | None = None) -> steps.Patch:
    """The fence goes; a change that went well ends the count of attempts."""
    over = {CHANGE: None, REQUESTED: None, HOLD: hold.to_text() if hold else None}
    return steps.Patch(over, fence=False)


def give_back(change: mig.Change, hold: mig.Hold | None) -> steps.Patch:
    """The fence goes, whatever the layout is; what was wanted holds no longer once it was labelled."""
    annotations: dict[str, str | None] = {CHANGE: None, REQUESTED: None}
    if change.phase != "Fenced":
        annotations[WANTED] = None
    if hold is not None:
        annotations[HOLD] = hold.to_text()
    return steps.Patch(annotations, fence=False)


def repair() -> steps.Patch:
    """A fence or a record that nobody can go on with."""
    return steps.Patch({CHANGE: None, REQUESTED: None}, fence=False)


def build_hold(
    facts: reading.Facts, reason: str, now: datetime.datetime, first_s: float, longest_s: float
) -> mig.Hold:
    """Twice as long after each attempt in a row."""
    attempts = (facts.hold.attempts if facts.hold else 0) + 1
    delay_s = min(longest_s, first_s * 2.0 ** (attempts - 1))
    return mig.Hold(now + datetime.timedelta(seconds=delay_s), attempts, reason)
