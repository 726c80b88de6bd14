"""Lives of many gangs in a cluster that does what it likes: all are whole or hold nothing, none is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from tests import gang_world


@pytest.mark.parametrize("levels", [pytest.param(True, id="with places"), pytest.param(False, id="anywhere")])
def test_no_gang_stays_half_there(levels: bool) -> None:
    world = gang_world.World(1, levels=levels)
    gang_world.run(world, 300, rest_every=25)
    assert len(world.specs) > 10


@how(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_whatever_happens(seed: int) -> None:
    gang_world.run(gang_world.World(seed, nodes=4), 80, rest_every=20)
