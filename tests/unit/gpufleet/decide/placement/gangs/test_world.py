"""Lives of many gangs in a cluster that does what it likes: all are whole or hold nothing, none is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from gpufleet.decide.placement import brakes
from tests import gang_world

ACTIVE = brakes.Limits(preemption="Active", minimum_runtime_s=30.0)
URGENT = {"high": 100, "middle": 10}


@pytest.mark.parametrize("levels", [pytest.param(True, id="with places"), pytest.param(False, id="anywhere")])
def test_no_gang_stays_half_there(levels: bool) -> None:
    world = gang_world.World(2, levels=levels, priorities=URGENT, limits=ACTIVE)
    gang_world.run(world, 400, rest_every=100)
    assert len(world.specs) > 10
    assert world.counts["Preempted"] + world.counts["Shrunk"] > 0


@how(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_whatever_happens(seed: int) -> None:
    world = gang_world.World(seed, nodes=4, priorities=URGENT, limits=ACTIVE)
    gang_world.run(world, 80, rest_every=20)
