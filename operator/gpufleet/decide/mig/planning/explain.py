"""Sentences: why a GPU is cut anew, and what a plan achieves."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence

from gpufleet.decide.mig import geometry
from gpufleet.decide.mig.planning import values

ALL_SERVED = "AllServed"
NO_DEMAND = "NoDemand"
REPARTITION = "Repartition"
NOTHING_HELPS = "NothingHelps"
_MOST_NAMED = 3


def change(recipe: values.Recipe) -> str:
    """What happens to one GPU."""
    parts = [f"makes {count(recipe.created)}"] if recipe.created else []
    idle = len(recipe.destroyed) - recipe.moved
    if idle:
        parts.append(f"destroys {idle} idle")
    if recipe.moved:
        parts.append(f"moves {recipe.moved} busy")
    return ", ".join(parts)


def count(placements: Iterable[geometry.Placement]) -> str:
    """Slices as people read them: `2 × 3g.40gb, 1 × 1g.10gb`."""
    counts = collections.Counter(one.profile for one in placements)
    return ", ".join(f"{number} × {profile}" for profile, number in sorted(counts.items()))


def plan(
    changes: str | None, outcomes: Sequence[values.Outcome], without: float, bound: float
) -> tuple[str, str]:
    """Reason and message of a plan with these changes, as `changes_of` tells them; None if there are none."""
    wanted = sum(one.demand.count * one.demand.weight for one in outcomes)
    served = sum(one.served * one.demand.weight for one in outcomes)
    lacking = _name_lacking(outcomes)
    if not wanted:
        return NO_DEMAND, "nothing waits for a slice"
    if not changes and not lacking:
        return ALL_SERVED, f"idle slices serve all {wanted:g} of the weighted demand"
    if not changes:
        return NOTHING_HELPS, (
            f"no change pays: {served:g} of {wanted:g} weighted demand has slices, at most {bound:g} could; "
            f"lacking {lacking}"
        )
    message = (
        f"serves {served:g} of {wanted:g} weighted demand, {served - without:g} more than without, at most "
        f"{bound:g} could be; {changes}"
    )
    return REPARTITION, message + (f"; lacking {lacking}" if lacking else "")


def changes_of(gpus: int, nodes: int, moved: int) -> str | None:
    """How much is disturbed."""
    return f"changes {gpus} GPUs on {nodes} nodes, moves {moved} busy slices" if gpus else None


def _name_lacking(outcomes: Sequence[values.Outcome]) -> str:
    missing = [(one.demand, one.demand.count - one.served) for one in outcomes]
    named = [f"{number} × {demand.profile}" for demand, number in missing if number]
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return ", ".join(named[:_MOST_NAMED]) + more
