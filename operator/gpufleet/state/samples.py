"""What Prometheus knows of the pods of one service, as one value per signal and pod."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, slots=True)
class PodSample:
    """One pod at one look; `age_s` is how old its newest sample was by Prometheus's own clock."""

    age_s: float
    queue_s: float | None = None
    """Seconds that requests spent in the queue, per second."""
    served: float | None = None
    failed: float | None = None
    shed: float | None = None
    pending: float | None = None
    busy: float | None = None
    """Busy instances."""
    latency_s: float | None = None
    kv_cache: float | None = None
    ttft_s: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """One round of queries over the whole fleet: samples by (namespace, pod name).

    `error` says why there is none; the samples of the round before are gone then, not repeated.
    """

    number: int
    at_s: float
    pods: Mapping[tuple[str, str], PodSample] = dataclasses.field(default_factory=dict)
    error: str = ""


NOT_ASKED = Look(number=0, at_s=0.0, error="Prometheus was not asked yet")
