"""Evictions that were refused, as they are told of a node."""

from __future__ import annotations

import pytest

from gpufleet.decide.mig.repartition import reasons, refusals, steps
from tests.unit.gpufleet.decide.mig.repartition import builders_mig as b

PODS = tuple(b.make_holder(name) for name in "pqrs")
DRAINS = steps.Verdict("Fenced", reasons.DRAINING, "asked", steps.Step("Evict", evict=PODS))
WAITS = steps.Verdict("Fenced", reasons.AWAITING_PODS, "waits")
HEAD = "node node-a: pods that hold GPUs which change may not be evicted yet: "


def told(*names: str) -> dict[str, str]:
    return {f"uid-{name}": f"default/{name}: the budget web" for name in names}


@pytest.mark.parametrize(
    ("verdict", "refused", "reason", "message"),
    [
        pytest.param(DRAINS, {}, reasons.DRAINING, "asked", id="nothing was refused"),
        pytest.param(DRAINS, told("other"), reasons.DRAINING, "asked", id="another pod"),
        pytest.param(
            DRAINS, told("q"), reasons.EVICTION_REFUSED, HEAD + "default/q: the budget web", id="one of four"
        ),
        pytest.param(
            DRAINS,
            told(*"pqrs"),
            reasons.EVICTION_REFUSED,
            HEAD + "; ".join(told(*"pqr").values()) + "; and 1 more",
            id="more than are named",
        ),
        pytest.param(WAITS, told("p"), reasons.AWAITING_PODS, "waits", id="nobody is asked any more"),
    ],
)
def test_what_is_told(verdict: steps.Verdict, refused: dict[str, str], reason: str, message: str) -> None:
    found = refusals.tell(verdict, b.read(b.make_node({b.ONE: 7})), refused)
    assert (found.reason, found.message) == (reason, message)
    assert (found.phase, found.step) == (verdict.phase, verdict.step), "they are asked again"
