"""Samples of pods → signals of a service, each with a class that says what may be concluded from it.

Sums come before ratios: the mean of ratios hides one busy pod among idle ones
(triton-inference-server/server#8979). Absent is never zero (kedacore/keda#3065), and zero with the pod
answering is a fact (ai-dynamo/dynamo#6985).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from gpufleet.state import fleet, samples

Class = Literal["Ok", "Idle", "Stale", "Missing", "Partial"]

STALE_S = 90.0
"""Age from which a sample says nothing of now: three scrapes of the slowest usual interval."""
_TINY = 1e-9


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """One signal of a service; `value` is None where there is nothing to say."""

    value: float | None
    kind: Class
    age_s: float = 0.0

    @property
    def may_grow(self) -> bool:
        """A part of the pods shows at least that much load."""
        return self.value is not None and self.kind in ("Ok", "Partial")

    @property
    def may_shrink(self) -> bool:
        return self.value is not None and self.kind in ("Ok", "Idle")


@dataclasses.dataclass(frozen=True, slots=True)
class Readings:
    """All signals of one service; of its `ready` pods `seen` have a fresh sample."""

    ready: int
    seen: int
    offered: Reading
    shed: Reading
    pending: Reading
    wait_s: Reading
    busy: Reading
    latency_s: Reading
    kv_cache: Reading
    ttft_s: Reading
    error: str = ""


def read(pods: Iterable[fleet.Pod], look: samples.Look) -> Readings:
    """The signals of a service; `pods` are its own, by the API server and not by Prometheus.

    A pod that is not ready has no say: its requests go elsewhere.
    """
    ready = [pod for pod in pods if pod.ready and not pod.deleting]
    found = [one for pod in ready if (one := look.pods.get((pod.namespace, pod.name))) is not None]
    fresh = [one for one in found if one.age_s <= STALE_S]
    kind = _classify(len(ready), found, fresh)
    offered = _add(_offered(one) for one in fresh)
    if kind == "Ok" and offered is not None and offered <= _TINY and not _add(one.pending for one in fresh):
        kind = "Idle"
    age_s = max((one.age_s for one in found), default=0.0)

    def reading(value: float | None, *, of: Callable[[samples.PodSample], float | None]) -> Reading:
        return _read_one(value, kind, age_s, fresh, of)

    served = _add(one.served for one in fresh)
    return Readings(
        ready=len(ready),
        seen=len(fresh),
        offered=reading(offered, of=_offered),
        shed=reading(_add(one.shed for one in fresh), of=lambda one: one.shed),
        pending=reading(_add(one.pending for one in fresh), of=lambda one: one.pending),
        wait_s=reading(_ratio(_add(one.queue_s for one in fresh), served), of=lambda one: one.queue_s),
        busy=reading(_add(one.busy for one in fresh), of=lambda one: one.busy),
        latency_s=reading(_most(one.latency_s for one in fresh), of=lambda one: one.latency_s),
        kv_cache=reading(_mean(one.kv_cache for one in fresh), of=lambda one: one.kv_cache),
        ttft_s=reading(_most(one.ttft_s for one in fresh), of=lambda one: one.ttft_s),
        error=look.error,
    )


def _classify(ready: int, found: Sequence[samples.PodSample], fresh: Sequence[samples.PodSample]) -> Class:
    if not fresh:
        return "Stale" if found else "Missing"
    return "Ok" if len(fresh) == ready else "Partial"


def _read_one(
    value: float | None,
    kind: Class,
    age_s: float,
    fresh: Sequence[samples.PodSample],
    of: Callable[[samples.PodSample], float | None],
) -> Reading:
    """The class of one signal: that of the pods, unless some of them lack just this one."""
    if value is None:
        return Reading(None, kind if kind in ("Stale", "Idle") else "Missing", age_s)
    lacks = sum(of(one) is None for one in fresh)
    return Reading(value, "Partial" if lacks and kind in ("Ok", "Idle") else kind, age_s)


def _offered(one: samples.PodSample) -> float | None:
    return None if one.served is None else one.served + (one.failed or 0.0)


def _numbers(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _add(values: Iterable[float | None]) -> float | None:
    known = _numbers(values)
    return math.fsum(known) if known else None


def _most(values: Iterable[float | None]) -> float | None:
    return max(_numbers(values), default=None)


def _mean(values: Iterable[float | None]) -> float | None:
    known = _numbers(values)
    return math.fsum(known) / len(known) if known else None


def _ratio(above: float | None, below: float | None) -> float | None:
    """None where nothing came: a wait of nobody is no wait of zero."""
    return above / below if above is not None and below is not None and below > _TINY else None
