from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gpufleet.api import reasons
from gpufleet.decide.placement import brakes
from gpufleet.state import fleet
from tests import builders
from tests.unit.gpufleet.decide.placement.gangs.test_admission import NODES, gang, places
from tests.unit.gpufleet.decide.placement.gangs.test_preemption import decide, follow, running, sizes

LIMITS = brakes.Limits(minimum_runtime_s=600.0)
WIDE: dict[str, Any] = {"workers": {"min": 1, "max": 4}}


@pytest.mark.parametrize(
    ("spec", "workers"),
    [
        pytest.param({}, 4, id="all that is free"),
        pytest.param({"workers": {"min": 1, "max": 2}}, 2, id="up to the most"),
        pytest.param({"saved_s": 121.0}, None, id="not long after a checkpoint"),
        pytest.param({"saved_s": 0.0}, None, id="nor without one"),
        pytest.param({"ran_s": 599.0}, None, id="nor at once"),
        pytest.param({"topology": {"required": "rack"}}, 2, id="within its rack"),
        pytest.param({"parallelism": {"pipeline": 3, "tensor": 8}}, 3, id="as its layout allows"),
    ],
)
def test_growth(spec: dict[str, Any], workers: int | None) -> None:
    found = decide([running("a", "n0", **{"saved_s": 60.0, **WIDE, **spec})], limits=LIMITS)
    assert sizes(found) == ({} if workers is None else {"a": workers})
    if workers:
        assert found["a"].value["reason"] == reasons.GROWN
        assert places(found["a"].value)["n0"] == 1


def test_what_is_written_is_not_written_again() -> None:
    [(job, pods)] = [running("a", "n0", saved_s=60.0, **WIDE)]
    found = decide([(job, pods)], limits=LIMITS)
    assert decide([(follow(found, job), pods)], limits=LIMITS) == {}


def test_nobody_grows_while_another_waits_for_the_same() -> None:
    found = decide([running("a", "n0", saved_s=60.0, **WIDE)], gang("big", workers=4), limits=LIMITS)
    assert sizes(found) == {"big": 0}


def test_two_gangs_do_not_grow_onto_the_same_nodes() -> None:
    both = [running("a", "n0", saved_s=60.0, **WIDE), running("b", "n1", saved_s=60.0, **WIDE)]
    assert sizes(decide(both, limits=LIMITS)) == {"a": 3}


def ending(pod: fleet.Pod) -> fleet.Pod:
    return dataclasses.replace(pod, deleting=True)


def test_a_gang_that_is_not_whole_does_not_grow() -> None:
    job, pods = running("a", "n0", saved_s=60.0, **WIDE)
    assert decide([(job, [ending(pod) for pod in pods])], limits=LIMITS) == {}
    assert decide([(job, [])], limits=LIMITS, nodes=[builders.make_node("x"), *NODES]) == {}
