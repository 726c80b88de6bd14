"""Pods that were asked to go and may not yet: they are asked again, and who keeps them is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from gpufleet.decide.mig.repartition import facts as reading
from gpufleet.decide.mig.repartition import reasons
from gpufleet.decide.mig.repartition.steps import Verdict

_MOST_NAMED = 3


def tell(verdict: Verdict, facts: reading.Facts, refused: Mapping[str, str]) -> Verdict:
    """The verdict with what the API server has said of its evictions, by the UID of the pod.

    Each of these names its pod and the PodDisruptionBudget.
    """
    asked = verdict.step.evict if verdict.step else ()
    said = [refused[pod.uid] for pod in asked if pod.uid in refused]
    if not said:
        return verdict
    more = f"; and {len(said) - _MOST_NAMED} more" if len(said) > _MOST_NAMED else ""
    message = (
        f"node {facts.node.name}: pods that hold GPUs which change may not be evicted yet: "
        + "; ".join(said[:_MOST_NAMED])
        + more
    )
    return dataclasses.replace(verdict, reason=reasons.EVICTION_REFUSED, message=message)
