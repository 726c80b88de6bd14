"""What Prometheus knows of the pods of one service, as one value per signal and pod."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

Signal = Literal[
    "offered", "served", "shed", "pending", "wait_s", "busy", "batch", "latency_s", "kv_cache", "ttft_s"
]
"""Requests per second that came, were answered, were refused; requests that wait; their mean wait in seconds;
busy instances; mean batch; 99th percentile of the latency; share of the KV cache in use; time to first token.
"""


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
    compute_s: float | None = None
    """Seconds that requests spent in execution, per second: each request of a batch counts the whole."""
    inferences: float | None = None
    executions: float | None = None
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
