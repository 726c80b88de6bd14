"""Samples of pods → signals of a service, each with a class that says what may be concluded from it.

Sums come before ratios: the mean of ratios hides one busy pod among idle ones
(triton-inference-server/server#8979). Absent is never zero (kedacore/keda#3065), and zero with the pod
answering is a fact (ai-dynamo/dynamo#6985).
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    """Mean time in the queue beyond the delay that batching takes on purpose."""
    busy: Reading
    items: Reading
    batch_size: Reading
    """Mean size of the batches that ran; over the largest that the spec allows it is the batch fill."""
    latency_s: Reading
    kv_cache: Reading
    ttft_s: Reading
    itl_s: Reading
    llm_waiting: Reading
    llm_running: Reading
    gr_engine_active: Reading
    sm_active: Reading
    fb_used_mib: Reading
    """Of the fullest pod."""
    power_w: Reading
    xid: Reading
    """The largest last XID of a pod, 0 where none had one."""
    arriving: float | None = None
    """Requests that came per second between the last two scrapes."""
    by_model: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Of `offered` what came for each model; a request to an ensemble is in its composing models' too."""
    error: str = ""
    """Why there are no samples at all."""
    notes: tuple[str, ...] = ()
    """Which signals could not be asked for, and why."""


def read(pods: Iterable[fleet.Pod], look: samples.Look, delay_s: float = 0.0) -> Readings:
    """The signals of a service; `pods` are its own, by the API server and not by Prometheus.

    A pod that is not ready has no say: its requests go elsewhere.

    Args:
        delay_s: how long Triton holds a request back to fill a batch (`max_queue_delay_microseconds`); no
            more server shortens that, so it is taken off the mean wait.
    """
    ready = [pod for pod in pods if pod.ready and not pod.deleting]
    found = [one for pod in ready if (one := look.pods.get((pod.namespace, pod.name))) is not None]
    fresh = [one for one in found if one.age_s <= STALE_S]
    kind = _classify(len(ready), found, fresh)
    if kind == "Ok" and all(_is_idle(one) for one in fresh):
        kind = "Idle"
    seen = _Seen(fresh, kind, max((one.age_s for one in found), default=0.0))
    wait_s = seen.ratio(lambda one: one.queue_s, lambda one: one.served)
    if wait_s.value is not None:
        wait_s = dataclasses.replace(wait_s, value=max(0.0, wait_s.value - delay_s))
    return Readings(
        ready=len(ready),
        seen=len(fresh),
        offered=seen.sum(_offered),
        shed=seen.sum(lambda one: one.shed),
        pending=seen.sum(lambda one: one.pending),
        wait_s=wait_s,
        busy=seen.sum(lambda one: one.busy),
        items=seen.sum(lambda one: one.items),
        batch_size=seen.ratio(lambda one: one.items, lambda one: one.executions),
        latency_s=seen.most_of_asked(lambda one: one.latency_s),
        kv_cache=seen.mean(lambda one: one.kv_cache),
        ttft_s=seen.most_of_asked(lambda one: one.ttft_s),
        itl_s=seen.most_of_asked(lambda one: one.itl_s),
        llm_waiting=seen.sum(lambda one: one.llm_waiting),
        llm_running=seen.sum(lambda one: one.llm_running),
        gr_engine_active=seen.mean(lambda one: one.gr_engine_active),
        sm_active=seen.mean(lambda one: one.sm_active),
        fb_used_mib=seen.most(lambda one: one.fb_used_mib),
        power_w=seen.sum(lambda one: one.power_w),
        xid=seen.most(lambda one: one.xid),
        arriving=seen.sum(lambda one: one.arriving).value,
        by_model=_add_models(fresh),
        error=look.error,
        notes=look.notes,
    )


_Field = Callable[[samples.PodSample], float | None]


@dataclasses.dataclass(frozen=True, slots=True)
class _Seen:
    """The fresh samples of a service, the class of its pods, and the age of the oldest sample."""

    fresh: Sequence[samples.PodSample]
    kind: Class
    age_s: float

    def sum(self, of: _Field) -> Reading:
        return self._read(_add(of(one) for one in self.fresh), of)

    def ratio(self, above: _Field, below: _Field) -> Reading:
        """Of the sums."""
        sums = _add(above(one) for one in self.fresh), _add(below(one) for one in self.fresh)
        return self._read(_ratio(*sums), above)

    def mean(self, of: _Field) -> Reading:
        known = _numbers(of(one) for one in self.fresh)
        return self._read(math.fsum(known) / len(known) if known else None, of)

    def most(self, of: _Field) -> Reading:
        return self._read(max(_numbers(of(one) for one in self.fresh), default=None), of)

    def most_of_asked(self, of: _Field) -> Reading:
        """A percentile of requests: a pod that had none does not lack it."""
        value = max(_numbers(of(one) for one in self.fresh), default=None)
        return self._read(value, lambda one: 0.0 if _is_idle(one) else of(one))

    def _read(self, value: float | None, of: _Field) -> Reading:
        """The class of one signal: that of the pods, unless some of them lack just this one."""
        if value is None:
            return Reading(None, self.kind if self.kind in ("Stale", "Idle") else "Missing", self.age_s)
        lacks = sum(of(one) is None for one in self.fresh)
        return Reading(value, "Partial" if lacks and self.kind in ("Ok", "Idle") else self.kind, self.age_s)


def multiply(found: Readings, rate: float) -> Readings:
    """As if `rate` times the requests came to the same servers.

    Rates and busy instances grow with them. Waits, latencies and the cache do in ways that are not known:
    they stay, but nobody waits where nobody asks.
    """
    if rate == 1.0:
        return found

    def times(one: Reading) -> Reading:
        value = None if one.value is None else one.value * rate
        kind: Class = "Idle" if value is not None and value <= _TINY and one.kind == "Ok" else one.kind
        return dataclasses.replace(one, value=value, kind=kind)

    supposed = dataclasses.replace(
        found,
        offered=times(found.offered),
        shed=times(found.shed),
        busy=times(found.busy),
        items=times(found.items),
        arriving=None if found.arriving is None else found.arriving * rate,
        by_model={name: value * rate for name, value in found.by_model.items()},
    )
    return supposed if rate > 0 else _quieten(supposed)


def _quieten(found: Readings) -> Readings:
    """Nobody asks any more."""

    def idle(one: Reading, value: float | None) -> Reading:
        return dataclasses.replace(one, value=value, kind="Idle") if one.kind == "Ok" else one

    return dataclasses.replace(
        found,
        pending=idle(found.pending, 0.0),
        wait_s=idle(found.wait_s, None),
        latency_s=idle(found.latency_s, found.latency_s.value),
        kv_cache=idle(found.kv_cache, found.kv_cache.value),
        ttft_s=idle(found.ttft_s, found.ttft_s.value),
        itl_s=idle(found.itl_s, found.itl_s.value),
    )


def _classify(ready: int, found: Sequence[samples.PodSample], fresh: Sequence[samples.PodSample]) -> Class:
    if not fresh:
        return "Stale" if found else "Missing"
    return "Ok" if len(fresh) == ready else "Partial"


def _is_idle(one: samples.PodSample) -> bool:
    """Nothing comes and nothing hangs; where either is unknown that is no idleness."""
    known = _numbers((_offered(one), one.pending))
    return len(known) == 2 and max(known) <= _TINY


def _offered(one: samples.PodSample) -> float | None:
    return None if one.served is None else one.served + (one.failed or 0.0)


def _numbers(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _add(values: Iterable[float | None]) -> float | None:
    known = _numbers(values)
    return math.fsum(known) if known else None


def _add_models(fresh: Iterable[samples.PodSample]) -> dict[str, float]:
    parts: dict[str, list[float]] = defaultdict(list)
    for one in fresh:
        for model, value in one.by_model.items():
            parts[model].append(value)
    return {model: math.fsum(values) for model, values in sorted(parts.items())}


def _ratio(above: float | None, below: float | None) -> float | None:
    """None where nothing came: a wait of nobody is no wait of zero."""
    return above / below if above is not None and below is not None and below > _TINY else None
