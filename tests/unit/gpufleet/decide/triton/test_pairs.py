"""Our verdict on pairs of configurations; tests/e2e/test_triton_verdict.py has Triton's."""

from __future__ import annotations

import pytest

from gpufleet.decide.triton import config
from tests import triton_pairs
from tests.triton_pairs import pairs

EACH = [pytest.param(pair, id=pair.name) for pair in triton_pairs.PAIRS]


@pytest.mark.parametrize("pair", EACH)
def test_what_loads_is_taken(pair: pairs.Pair) -> None:
    assert config.check(pairs.parse(pair.good), has_accelerator=False) == []


@pytest.mark.parametrize("pair", EACH)
def test_what_does_not_load_is_refused_with_the_reason(pair: pairs.Pair) -> None:
    said = "\n".join(config.check(pairs.parse(pair.bad), has_accelerator=False))
    assert [word for word in pair.ours if word not in said] == []
    assert all(line.startswith("models[") for line in said.splitlines())


def test_every_pair_has_a_name_of_its_own_and_a_verdict() -> None:
    names = [pair.name for pair in triton_pairs.PAIRS]
    assert sorted(set(names)) == sorted(names)
    assert [pair.name for pair in triton_pairs.PAIRS if (pair.triton is None) != bool(pair.why)] == []
