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
    items: float | None = None
    """Inferences per second; a request of a batch of eight is eight."""
    executions: float | None = None
    """Executions of a model per second."""
    by_model: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Requests per second that came, by model; one to an ensemble counts for its composing models too."""
    arriving: float | None = None
    """Requests that came per second between the last two scrapes."""
    latency_s: float | None = None
    kv_cache: float | None = None
    """Share of the KV cache in use."""
    ttft_s: float | None = None
    """Time to the first token."""
    itl_s: float | None = None
    """Time between two tokens."""
    llm_waiting: float | None = None
    """Requests in the engine's own queue, behind Triton's."""
    llm_running: float | None = None
    gr_engine_active: float | None = None
    """Share of the time, mean of its devices; on MIG of its instances."""
    sm_active: float | None = None
    dram_active: float | None = None
    fb_used_mib: float | None = None
    """Sum of its devices."""
    power_w: float | None = None
    """Sum of its boards, each whole: on MIG also what its neighbours draw."""
    xid: float | None = None
    """The last XID of one of its devices, 0 where there was none."""


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """One round of queries over the whole fleet: samples by (namespace, pod name).

    `error` says why there is none; the samples of the round before are gone then, not repeated.
    """

    number: int
    at_s: float
    pods: Mapping[tuple[str, str], PodSample] = dataclasses.field(default_factory=dict)
    error: str = ""
    waiting: Mapping[tuple[str, str], float] = dataclasses.field(default_factory=dict)
    """Requests that wait at a gateway, by (namespace, TritonService); a service that is not in it has no
    gateway that says."""
    notes: tuple[str, ...] = ()
    """What could not be asked or was answered in part, though there are samples; its fields are None."""


NOT_ASKED = Look(number=0, at_s=0.0, error="Prometheus was not asked yet")
