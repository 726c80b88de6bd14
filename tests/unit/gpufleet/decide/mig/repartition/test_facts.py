"""What is known of a node: who holds what, whose word can be trusted, and what the planner gets of it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gpufleet.decide.mig.repartition import configs, facts, reasons
from gpufleet.state import devices, fleet, mig, names
from tests import builders
from tests.unit.gpufleet.decide.mig.repartition import builders_mig as b

SEVEN = {b.ONE: 7}
LAYOUT = mig.Layout.of({0: SEVEN})
WANTED = mig.Wanted(LAYOUT, configs.choose_name(LAYOUT, ()))


@pytest.mark.parametrize(
    ("holders", "pods", "expected", "strangers"),
    [
        pytest.param({}, [], {0: [], 1: []}, [], id="nobody"),
        pytest.param(
            {(0, 0): "default/a/uid-a"},
            [b.make_holder("a")],
            {0: ["default/a"], 1: []},
            [],
            id="as the map says",
        ),
        pytest.param(
            {(0, 0): "default/a"}, [b.make_holder("a")], {0: ["default/a"], 1: []}, [], id="without a UID"
        ),
        pytest.param({}, [b.make_holder("a")], {0: [], 1: []}, ["default/a"], id="not in the map yet"),
        pytest.param(
            {(0, 0): "default/a/uid-a"},
            [b.make_holder("a", requests={b.SLICE: 2})],
            {0: ["default/a"], 1: []},
            ["default/a"],
            id="one of its two is",
        ),
        pytest.param(
            {(0, 0): "default/a/uid-a", (1, 0): "default/a/uid-a"},
            [b.make_holder("a", requests={b.SLICE: 2})],
            {0: ["default/a"], 1: ["default/a"]},
            [],
            id="both are",
        ),
        pytest.param({}, [b.make_holder("a", phase="Succeeded")], {0: [], 1: []}, [], id="it has ended"),
        pytest.param(
            {}, [b.make_holder("a", requests={"x.y/z": 1})], {0: [], 1: []}, [], id="it asks for no GPU"
        ),
        pytest.param({}, [b.make_holder("a", node="node-b")], {0: [], 1: []}, [], id="it is elsewhere"),
        pytest.param(
            {(1, 0): "default/gone/uid"}, [], {0: [], 1: ["default/gone"]}, [], id="a pod that is gone"
        ),
    ],
)
def test_who_holds_what(
    holders: dict[tuple[int, int], str],
    pods: list[fleet.Pod],
    expected: dict[int, list[str]],
    strangers: list[str],
) -> None:
    found = b.read(b.make_node(SEVEN, SEVEN, holders=holders), *pods)
    assert {index: [one.name for one in here] for index, here in found.holders.items()} == expected
    assert [one.name for one in found.strangers] == strangers


def test_a_whole_gpu_is_held_by_its_pod() -> None:
    pod = b.make_holder("a", resource=builders.GPU)
    found = b.read(b.make_node(None, SEVEN, holders={(0, -1): "default/a/uid-a"}), pod)
    assert [one.name for one in found.find_holders([0])] == ["default/a"]
    assert found.find_holders([1]) == ()
    assert [gpu.index for gpu in facts.build_gpus(found, drains=False)] == [1]


@pytest.mark.parametrize(
    ("fields", "layout", "problem"),
    [
        pytest.param({}, LAYOUT, None, id="a map"),
        pytest.param({"devices": None}, None, reasons.DEVICE_MAP_MISSING, id="none"),
        pytest.param(
            {"devices": None, "label": WANTED.config, "state": "success"},
            LAYOUT,
            None,
            id="but our own label",
        ),
        pytest.param(
            {"devices": None, "label": WANTED.config, "state": "failed"},
            None,
            reasons.DEVICE_MAP_MISSING,
            id="which failed",
        ),
        pytest.param(
            {"devices": None, "label": WANTED.config, "state": "success", "allocatable": {}},
            None,
            reasons.DEVICE_MAP_MISSING,
            id="and offers something else",
        ),
        pytest.param(
            {"boot_id": "2", "devices": b.make_map(SEVEN, boot="1")},
            None,
            reasons.DEVICE_MAP_STALE,
            id="rebooted",
        ),
        pytest.param(
            {"labels": {"nvidia.com/mig-1g.10gb.count": "6"}},
            LAYOUT,
            reasons.DEVICE_MAP_STALE,
            id="labels differ",
        ),
        pytest.param({"labels": {"nvidia.com/mig-1g.10gb.count": "7"}}, LAYOUT, None, id="labels agree"),
        pytest.param(
            {"labels": {names.MIG_STRATEGY_LABEL: "mixed"}},
            LAYOUT,
            reasons.DEVICE_MAP_STALE,
            id="not labelled yet",
        ),
    ],
)
def test_whose_word_counts(fields: dict[str, Any], layout: mig.Layout | None, problem: str | None) -> None:
    notes = {names.MIG_WANTED_ANNOTATION: WANTED.to_text()}
    found = b.read(b.make_node(SEVEN, annotations=notes, **fields))
    assert found.layout == layout
    assert (found.problem[0] if found.problem else None) == problem


@pytest.mark.parametrize(
    "instance",
    [
        pytest.param(devices.Instance("m", "9g.90gb", 0), id="no such profile"),
        pytest.param(devices.Instance("m", b.THREE, 3), id="no such place"),
    ],
)
def test_a_map_that_no_hardware_has_is_not_believed(instance: devices.Instance) -> None:
    gpu = devices.Gpu(0, "g", mig=True, instances=(instance,))
    found = b.read(b.make_node(SEVEN, devices=devices.DeviceMap("", (gpu,))))
    assert found.problem is not None
    assert found.problem[0] == reasons.DEVICE_MAP_STALE
    assert found.layout is None


def test_starts_that_nobody_tells_are_those_of_the_driver() -> None:
    told = b.make_map({b.THREE: 1, b.ONE: 3}, holders={(0, 3): "default/a/"})
    [gpu] = told.gpus
    hidden = tuple(dataclasses.replace(one, start=-1) for one in gpu.instances)
    untold = devices.DeviceMap("", (dataclasses.replace(gpu, instances=hidden),))
    node = b.make_node({b.THREE: 1, b.ONE: 3}, devices=untold)
    found = b.read(node, b.make_holder("a", resource="nvidia.com/mig-3g.40gb"))
    assert found.problem is None
    assert [one.start for one in found.gpus[0].instances] == [one.start for one in gpu.instances]
    assert [one.name for one in found.find_holders([0])] == ["default/a"]
    unnamed = devices.DeviceMap("", (dataclasses.replace(gpu, index=-1),))
    assert b.read(b.make_node({b.THREE: 1, b.ONE: 3}, devices=unnamed)).problem is not None


def test_without_a_map_any_gpu_pod_blocks_the_whole_node() -> None:
    node = b.make_node(
        SEVEN,
        SEVEN,
        devices=None,
        label=WANTED.config,
        state="success",
        annotations={names.MIG_WANTED_ANNOTATION: WANTED.to_text()},
    )
    alone = b.read(dataclasses.replace(node, allocatable={b.SLICE: 7}))
    assert len(facts.build_gpus(alone, drains=True)) == 1
    held = b.read(dataclasses.replace(node, allocatable={b.SLICE: 7}), b.make_holder("a"))
    assert [one.name for one in held.find_holders([0])] == ["default/a"]
    assert facts.build_gpus(held, drains=True) == ()


@pytest.mark.parametrize(
    ("evictable", "drains", "movable"),
    [(True, True, True), (True, False, False), (False, True, False)],
    ids=["may go", "but nobody is drained", "may not go"],
)
def test_the_planner_moves_what_may_go(evictable: bool, drains: bool, movable: bool) -> None:
    node = b.make_node(SEVEN, holders={(0, 2): "default/a/uid-a"})
    [gpu] = facts.build_gpus(b.read(node, b.make_holder("a", evictable=evictable)), drains=drains)
    [busy] = [one for one in gpu.instances if one.busy]
    assert busy.movable is movable
    assert gpu.is_frozen is not movable


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"gpus":3}', '{"gpus":{"a":{}}}', '{"gpus":{"0":[1]}}', "nonsense"]
)
def test_records_of_others_are_no_records(text: str) -> None:
    notes = dict.fromkeys(
        (names.MIG_WANTED_ANNOTATION, names.MIG_HOLD_ANNOTATION, names.MIG_CHANGE_ANNOTATION), text
    )
    found = b.read(b.make_node(SEVEN, annotations=notes))
    assert (found.change, found.hold, found.is_broken) == (None, None, True)


def test_records_are_read_as_they_were_written() -> None:
    change = b.make_change([SEVEN, None], [SEVEN, {}], agreed=b.at(5), trouble="X", attempt=3, boot_id="b")
    assert mig.Change.from_text(change.to_text()) == change
    assert mig.Wanted.from_text(WANTED.to_text()) == WANTED
    hold = mig.Hold(b.at(60), 2, "X")
    assert mig.Hold.from_text(hold.to_text()) == hold
