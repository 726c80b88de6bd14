"""One node's state machine: every way on, every wait, every end, each by its reason."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet.decide.mig.repartition import facts, machine, reasons, steps
from gpufleet.state import fleet, mig, names
from tests.unit.gpufleet.decide.mig.repartition import builders_mig as b

BEFORE: list[b.Slices] = [{b.ONE: 7}, {b.ONE: 7}]
AFTER: list[b.Slices] = [{b.ONE: 7}, {b.THREE: 2}]
CHANGE = b.make_change(BEFORE, AFTER)


def advance(
    node: fleet.Node, *pods: fleet.Pod, at_s: float = 60.0, change: mig.Change = CHANGE, **context: Any
) -> steps.Verdict:
    return machine.advance(b.read(node, *pods), b.make_context(change, **context), b.at(at_s))


def kind_of(verdict: steps.Verdict) -> str:
    return verdict.step.kind if verdict.step else ""


def fenced(**fields: Any) -> fleet.Node:
    change = dataclasses.replace(CHANGE, **fields.pop("record", {}))
    return b.make_node(*fields.pop("gpus", BEFORE), change=change, **fields)


def labelled(
    *gpus: b.Slices, state: str = "success", phase: mig.Phase = "Applying", **fields: Any
) -> fleet.Node:
    record = {"phase": phase, "trouble": fields.pop("trouble", "")} | fields.pop("record", {})
    change = dataclasses.replace(CHANGE, **record)
    return b.make_node(*gpus, change=change, label=fields.pop("label", change.label), state=state, **fields)


# Before.

TARGET = CHANGE.to
HELD_BACK = {names.MIG_HOLD_ANNOTATION: mig.Hold(b.at(90), 1, "X").to_text()}


@pytest.mark.parametrize(
    ("node", "context", "reason", "kind"),
    [
        pytest.param(b.make_node(*BEFORE), {}, reasons.SETTLED, "", id="nothing is wanted"),
        pytest.param(b.make_node(*AFTER), {"target": TARGET}, reasons.SETTLED, "", id="it is so already"),
        pytest.param(
            b.make_node(*BEFORE, annotations=HELD_BACK), {}, reasons.HELD, "", id="held, so not planned"
        ),
        pytest.param(b.make_node(*BEFORE), {"target": TARGET}, reasons.FENCED, "Begin", id="it begins"),
        pytest.param(
            b.make_node(*BEFORE),
            {"target": TARGET, "against": (reasons.ADVISORY, "told")},
            reasons.ADVISORY,
            "",
            id="told",
        ),
        pytest.param(
            b.make_node(*BEFORE, unschedulable=True),
            {"target": TARGET},
            reasons.NODE_CORDONED,
            "",
            id="cordoned",
        ),
        pytest.param(
            b.make_node(*BEFORE, ready=False), {"target": TARGET}, reasons.NODE_NOT_READY, "", id="not ready"
        ),
        pytest.param(
            b.make_node(*BEFORE, devices=None),
            {"target": TARGET},
            reasons.DEVICE_MAP_MISSING,
            "",
            id="no map",
        ),
        pytest.param(
            b.make_node(*BEFORE, boot_id="2", devices=b.make_map(*BEFORE, boot="1")),
            {"target": TARGET},
            reasons.DEVICE_MAP_STALE,
            "",
            id="a map from before the boot",
        ),
        pytest.param(
            b.make_node(*BEFORE, labels={names.MIG_STRATEGY_LABEL: "single"}),
            {"target": TARGET},
            reasons.STRATEGY_NOT_MIXED,
            "",
            id="strategy single",
        ),
        pytest.param(
            b.make_node(*BEFORE, claimable=frozenset({b.ONE})),
            {"target": TARGET},
            reasons.SLICES_BY_CLAIM,
            "",
            id="a driver makes its slices",
        ),
        pytest.param(
            b.make_node(*BEFORE, labels={names.GPU_PRODUCT_LABEL: "NVIDIA-L40S"}),
            {"target": TARGET},
            reasons.NOT_MIG_CAPABLE,
            "",
            id="no MIG",
        ),
        pytest.param(
            b.make_node(*BEFORE, labels={names.GPU_PRODUCT_LABEL: "X"}),
            {"target": TARGET},
            reasons.UNKNOWN_DEVICE,
            "",
            id="nobody knows it",
        ),
        pytest.param(
            b.make_node(
                *BEFORE, annotations={names.MIG_HOLD_ANNOTATION: mig.Hold(b.at(90), 1, "X").to_text()}
            ),
            {"target": TARGET},
            reasons.HELD,
            "",
            id="held",
        ),
        pytest.param(
            b.make_node(
                *BEFORE, annotations={names.MIG_HOLD_ANNOTATION: mig.Hold(b.at(9), 1, "X").to_text()}
            ),
            {"target": TARGET},
            reasons.FENCED,
            "Begin",
            id="held no longer",
        ),
        pytest.param(
            b.make_node(*BEFORE, taints=b.FENCE), {}, reasons.FENCE_ORPHANED, "Repair", id="a fence alone"
        ),
        pytest.param(
            b.make_node(*BEFORE, annotations={names.MIG_CHANGE_ANNOTATION: "{}"}, taints=b.FENCE),
            {},
            reasons.RECORD_UNREADABLE,
            "Repair",
            id="a record that nobody can read",
        ),
        pytest.param(
            b.make_node(*BEFORE, taints=b.FENCE, state="pending"),
            {},
            reasons.FENCE_ORPHANED,
            "",
            id="while it works",
        ),
    ],
)
def test_a_node_at_rest(node: fleet.Node, context: dict[str, Any], reason: str, kind: str) -> None:
    verdict = advance(node, **context)
    assert (verdict.reason, kind_of(verdict)) == (reason, kind)
    assert verdict.message


def test_a_beginning_is_one_write_that_says_all() -> None:
    step = advance(b.make_node(*BEFORE, label=CHANGE.config), target=TARGET).step
    assert step is not None
    assert step.patch.fence is True
    record = mig.Change.from_text(step.patch.annotations[names.MIG_CHANGE_ANNOTATION] or "")
    assert (record.to, record.back, record.label_before) == (TARGET, CHANGE.back, CHANGE.config)
    assert len({record.config, record.back_config, record.label_before}) == 3, "a label has to change"


# Fenced.

HELD = {(1, 0): b.holder_text("late")}


@pytest.mark.parametrize(
    ("node", "pods", "context", "reason", "kind"),
    [
        pytest.param(fenced(), [], {}, reasons.LABELLED, "Label", id="nobody holds it"),
        pytest.param(fenced(), [], {"at_s": 2.0}, reasons.FENCED, "", id="pods may still come"),
        pytest.param(
            fenced(), [], {"published": frozenset()}, reasons.AWAITING_CONFIG, "Note", id="gone from the file"
        ),
        pytest.param(
            fenced(record={"published": None}), [], {}, reasons.AWAITING_CONFIG, "Note", id="seen in the file"
        ),
        pytest.param(
            fenced(record={"published": b.at(50)}), [], {}, reasons.AWAITING_CONFIG, "", id="not mounted yet"
        ),
        pytest.param(
            fenced(holders={(0, 0): b.holder_text("old")}),
            [b.make_holder("old")],
            {},
            reasons.LABELLED,
            "Label",
            id="a pod on a GPU that stays",
        ),
        pytest.param(
            fenced(holders=HELD),
            [b.make_holder("late")],
            {},
            reasons.AWAITING_PODS,
            "",
            id="a pod on one that changes",
        ),
        pytest.param(
            fenced(), [b.make_holder("unseen")], {}, reasons.AWAITING_PODS, "", id="a pod that the map lacks"
        ),
        pytest.param(
            fenced(holders=HELD), [], {}, reasons.AWAITING_PODS, "", id="the map names one that is gone"
        ),
        pytest.param(
            fenced(holders=HELD),
            [b.make_holder("late", uid="another")],
            {},
            reasons.AWAITING_PODS,
            "",
            id="a namesake",
        ),
        pytest.param(
            fenced(holders=HELD),
            [b.make_holder("late", evictable=True)],
            {"drains": True},
            reasons.DRAINING,
            "Evict",
            id="a pod that may be moved",
        ),
        pytest.param(
            fenced(holders=HELD),
            [b.make_holder("late", evictable=True)],
            {},
            reasons.AWAITING_PODS,
            "",
            id="but not by this pool",
        ),
        pytest.param(
            fenced(holders=HELD),
            [b.make_holder("late", evictable=True, deleting=True)],
            {"drains": True},
            reasons.AWAITING_PODS,
            "",
            id="it goes already",
        ),
        pytest.param(fenced(ready=False), [], {}, reasons.NODE_NOT_READY, "", id="the kubelet restarts"),
        pytest.param(
            fenced(devices=b.make_map(*BEFORE)),
            [],
            {},
            reasons.AWAITING_AGENT,
            "",
            id="the agent has not looked again",
        ),
        pytest.param(fenced(devices=None), [], {}, reasons.DEVICE_MAP_MISSING, "", id="the agent is silent"),
        pytest.param(fenced(taints=()), [], {}, reasons.FENCE_REMOVED, "GiveBack", id="its fence is gone"),
        pytest.param(fenced(label="mine"), [], {}, reasons.LABEL_EDITED, "GiveBack", id="somebody labels it"),
        pytest.param(
            fenced(unschedulable=True), [], {}, reasons.NODE_CORDONED, "GiveBack", id="somebody cordons it"
        ),
        pytest.param(
            fenced(claimable=frozenset({b.ONE})),
            [],
            {},
            reasons.SLICES_BY_CLAIM,
            "GiveBack",
            id="a driver came",
        ),
        pytest.param(fenced(boot_id="2"), [], {}, reasons.NODE_REBOOTED, "GiveBack", id="it was rebooted"),
        pytest.param(fenced(gpus=[{b.ONE: 7}]), [], {}, reasons.GPUS_CHANGED, "GiveBack", id="a GPU is gone"),
        pytest.param(
            fenced(), [], {"needed": False}, reasons.NO_LONGER_WANTED, "GiveBack", id="nobody wants it"
        ),
        pytest.param(
            fenced(holders=HELD),
            [b.make_holder("late")],
            {"at_s": 601.0},
            reasons.PODS_DO_NOT_LEAVE,
            "GiveBack",
            id="a pod that never drains",
        ),
    ],
)
def test_a_fenced_node(
    node: fleet.Node, pods: list[fleet.Pod], context: dict[str, Any], reason: str, kind: str
) -> None:
    verdict = advance(node, *pods, **context)
    assert (verdict.reason, kind_of(verdict)) == (reason, kind)


def test_a_label_takes_the_old_state_away() -> None:
    step = advance(fenced()).step
    assert step is not None
    assert step.patch.labels == {names.MIG_CONFIG_LABEL: CHANGE.config, names.MIG_STATE_LABEL: None}
    assert step.patch.fence is None


@pytest.mark.parametrize("holder", [(0, 0), (1, 0)], ids=["another GPU", "the GPU"])
def test_a_change_of_mode_on_ampere_waits_for_the_whole_node(holder: tuple[int, int]) -> None:
    product, name = "NVIDIA-A100-SXM4-40GB", "1g.5gb"
    change = b.make_change([{name: 7}, None], [{name: 7}, {name: 7}])
    node = b.make_node(
        {name: 7},
        None,
        product=product,
        change=change,
        holders={(0, 0): b.holder_text("old")} if holder[0] == 0 else {},
    )
    pod = b.make_holder("old", resource="nvidia.com/mig-1g.5gb")
    assert advance(node, pod, change=change).reason == reasons.AWAITING_PODS


# Labelled.

DONE: dict[str, Any] = {"agreed": b.at(0)}


@pytest.mark.parametrize(
    ("node", "at_s", "reason", "kind"),
    [
        pytest.param(labelled(*AFTER, record=DONE), 60.0, reasons.REPARTITIONED, "Finish", id="done"),
        pytest.param(labelled(*AFTER), 60.0, reasons.VERIFYING, "Note", id="done just now"),
        pytest.param(
            labelled(*AFTER, record={"agreed": b.at(50)}), 60.0, reasons.VERIFYING, "", id="done lately"
        ),
        pytest.param(labelled(*BEFORE, record=DONE), 60.0, reasons.VERIFYING, "Note", id="done no longer"),
        pytest.param(labelled(*BEFORE, state=""), 60.0, reasons.PENDING, "", id="not taken up"),
        pytest.param(labelled(*BEFORE, state="pending"), 60.0, reasons.PENDING, "", id="pending"),
        pytest.param(labelled(*BEFORE), 60.0, reasons.VERIFYING, "", id="said but not done"),
        pytest.param(
            labelled(*BEFORE, ready=False, state="pending"), 999.0, reasons.NODE_NOT_READY, "", id="down"
        ),
        pytest.param(
            labelled(*BEFORE, boot_id="2", state=""), 60.0, reasons.NODE_REBOOTED, "", id="rebooted"
        ),
        pytest.param(labelled(*BEFORE, state="failed"), 5.0, reasons.PENDING, "", id="failed before"),
        pytest.param(
            labelled(*BEFORE, state="failed"), 60.0, reasons.CONFIGURATION_FAILED, "RollBack", id="failed"
        ),
        pytest.param(
            labelled({b.ONE: 7}, {}, state="failed"),
            60.0,
            reasons.CONFIGURATION_FAILED,
            "RollBack",
            id="left empty",
        ),
        pytest.param(
            labelled(*BEFORE, state="pending"), 301.0, reasons.STUCK_PENDING, "RollBack", id="stuck pending"
        ),
        pytest.param(labelled(*BEFORE), 301.0, reasons.LAYOUT_DIFFERS, "RollBack", id="never done"),
        pytest.param(
            labelled(*AFTER, allocatable={}),
            301.0,
            reasons.NOT_ADVERTISED,
            "RollBack",
            id="the plugin is blind",
        ),
        pytest.param(
            labelled(*AFTER, labels={names.GPU_DEPLOY_LABELS + "dcgm": facts.PAUSED}),
            301.0,
            reasons.DEPLOY_PAUSED,
            "RollBack",
            id="paused for ever",
        ),
        pytest.param(
            labelled({b.ONE: 7}, state="failed"),
            60.0,
            reasons.CONFIGURATION_FAILED,
            "HandOver",
            id="a GPU is gone",
        ),
        pytest.param(
            labelled(*BEFORE, label="mine"), 60.0, reasons.LABEL_EDITED, "GiveBack", id="two writers"
        ),
        pytest.param(
            labelled(*BEFORE, label="mine", state="pending"),
            60.0,
            reasons.LABEL_EDITED,
            "",
            id="theirs is applied",
        ),
    ],
)
def test_a_labelled_node(node: fleet.Node, at_s: float, reason: str, kind: str) -> None:
    verdict = advance(node, at_s=at_s)
    assert (verdict.reason, kind_of(verdict)) == (reason, kind)


def test_nothing_is_rolled_back_under_a_pod() -> None:
    node = labelled({b.ONE: 7}, {b.THREE: 1}, state="failed", holders=HELD)
    pod = b.make_holder("late", resource="nvidia.com/mig-3g.40gb")
    waits = advance(node, pod)
    assert (waits.reason, kind_of(waits)) == (reasons.CONFIGURATION_FAILED, "")
    assert "late" in waits.message
    assert kind_of(advance(node, pod, at_s=901.0)) == "HandOver"


BACK = {"phase": "RollingBack", "trouble": reasons.CONFIGURATION_FAILED}
HANDED = {"phase": "HandedOver", "trouble": reasons.STUCK_PENDING}


@pytest.mark.parametrize(
    ("node", "at_s", "reason", "kind"),
    [
        pytest.param(labelled(*BEFORE, record=DONE, **BACK), 60.0, reasons.ROLLED_BACK, "Finish", id="back"),
        pytest.param(labelled(*AFTER, **BACK), 60.0, reasons.ROLLING_BACK, "", id="on the way"),
        pytest.param(
            labelled(*AFTER, state="failed", **BACK),
            60.0,
            reasons.ROLLBACK_FAILED,
            "HandOver",
            id="that fails too",
        ),
        pytest.param(
            labelled(*AFTER, state="pending", **BACK),
            301.0,
            reasons.STUCK_PENDING,
            "HandOver",
            id="that sticks too",
        ),
        pytest.param(
            labelled(*AFTER, label="mine", **BACK), 60.0, reasons.LABEL_EDITED, "GiveBack", id="two writers"
        ),
        pytest.param(
            labelled(*AFTER, state="pending", **HANDED), 999.0, reasons.STUCK_PENDING, "", id="a person's"
        ),
        pytest.param(
            labelled(*AFTER, record=DONE, **HANDED), 60.0, reasons.RECOVERED, "GiveBack", id="whole again"
        ),
        pytest.param(
            labelled(*AFTER, allocatable={}, **HANDED), 60.0, reasons.STUCK_PENDING, "", id="not offered yet"
        ),
        pytest.param(
            labelled(*AFTER, devices=None, **HANDED), 60.0, reasons.STUCK_PENDING, "", id="nobody says"
        ),
    ],
)
def test_the_way_back(node: fleet.Node, at_s: float, reason: str, kind: str) -> None:
    verdict = advance(node, at_s=at_s)
    assert (verdict.reason, kind_of(verdict)) == (reason, kind)


def test_each_attempt_in_a_row_is_held_back_twice_as_long() -> None:
    node = labelled(*BEFORE, record=DONE, **BACK)
    again = labelled(
        *BEFORE,
        record=DONE,
        **BACK,
        annotations={names.MIG_HOLD_ANNOTATION: mig.Hold(b.at(0), 2, "X").to_text()},
    )
    held = [advance(one).step.patch.annotations[names.MIG_HOLD_ANNOTATION] for one in (node, again)]  # type: ignore[union-attr]
    first, third = (mig.Hold.from_text(text or "") for text in held)
    assert (first.attempts, first.until) == (1, b.at(60 + 60))
    assert (third.attempts, third.until) == (3, b.at(60 + 240))


@pytest.mark.parametrize(
    ("node", "command"),
    [
        pytest.param(labelled(*BEFORE, state="pending"), "kubectl -n gpu-operator delete pod", id="stuck"),
        pytest.param(labelled(*BEFORE, state="failed"), "kubectl -n gpu-operator logs", id="failed"),
        pytest.param(
            labelled(*AFTER, state="pending", **HANDED), "kubectl annotate node node-a", id="handed over"
        ),
    ],
)
def test_where_a_person_is_needed_the_command_is_said(node: fleet.Node, command: str) -> None:
    assert command in advance(node, at_s=301.0).message


CUTS = st.sampled_from([{b.ONE: 7}, {b.THREE: 2}, {}, None, {b.THREE: 1, b.ONE: 3}])
LABELS = st.sampled_from(["", CHANGE.config, CHANGE.back_config, "mine"])
STATES = st.sampled_from(["", "pending", "success", "failed", "rebooting"])


@given(
    cuts=st.lists(CUTS, min_size=1, max_size=2),
    label=LABELS,
    state=STATES,
    phase=st.sampled_from(mig.PHASES),
    ready=st.booleans(),
    cordoned=st.booleans(),
    has_map=st.booleans(),
    at_s=st.floats(0, 2_000),
    holds=st.booleans(),
)
def test_a_label_is_never_set_while_somebody_may_hold_what_changes(
    cuts: list[b.Slices],
    label: str,
    state: str,
    phase: mig.Phase,
    ready: bool,
    cordoned: bool,
    has_map: bool,
    at_s: float,
    holds: bool,
) -> None:
    change = dataclasses.replace(CHANGE, phase=phase)
    fields: dict[str, Any] = {} if has_map else {"devices": None}
    node = b.make_node(
        *cuts, label=label, state=state, change=change, ready=ready, unschedulable=cordoned, **fields
    )
    pods = [b.make_holder("unseen")] if holds else []
    verdict = advance(node, *pods, at_s=at_s)
    assert verdict.reason
    assert verdict.message
    if holds or not ready:
        assert kind_of(verdict) not in ("Label", "RollBack")
    if verdict.step and verdict.step.kind in ("Label", "RollBack"):
        new = verdict.step.patch.labels[names.MIG_CONFIG_LABEL]
        assert new not in ("", None, label), "mig-manager acts on another value only"


def test_what_is_taken_is_marked_with_the_label_once() -> None:
    """For the disruption budget: with the first pod that is asked to go, or else with the label."""
    late = b.make_holder("late", evictable=True)
    asked = advance(fenced(holders=HELD), late, at_s=20.0, drains=True).step
    assert asked is not None
    text = asked.patch.annotations[names.MIG_CUTS_ANNOTATION]
    assert mig.Cuts.from_text(text or "").made == (mig.Cut(b.at(20.0), 1),)
    marked = {names.MIG_CUTS_ANNOTATION: text or ""}
    again = advance(fenced(holders=HELD, annotations=marked), late, at_s=30.0, drains=True).step
    assert again is not None
    assert again.patch == steps.Patch()
    labelled = advance(fenced(annotations=marked), at_s=40.0).step
    assert labelled is not None
    assert names.MIG_CUTS_ANNOTATION not in labelled.patch.annotations
    first = advance(fenced(), at_s=40.0).step
    assert first is not None
    assert mig.Cuts.from_text(first.patch.annotations[names.MIG_CUTS_ANNOTATION] or "").made == (
        mig.Cut(b.at(40.0), 1),
    )
