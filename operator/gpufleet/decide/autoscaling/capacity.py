"""How many requests per second one server carries within the latency objective.

Of a model with a profile the model of the batcher knows; without one it is learnt from the servers: what
they carried within the objective, what they did not, and how busy they were.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from gpufleet.api import autoscaling, model_profile, triton_service, tuning
from gpufleet.api.triton import model
from gpufleet.decide.autoscaling import signals
from gpufleet.decide.triton import profiles, service_time, tuned
from gpufleet.decide.triton import tuning as searches

BUSY_AT_OBJECTIVE = 0.7
"""Share of the time that an instance may be busy where nothing else is known: with Poisson arrivals the wait
is then about as long as the execution (M/D/1 at 0.7 waits 1.2 service times)."""
STREAK = 3
"""Looks in a row that must hold or miss the objective before a load counts as enough or too much."""
SETTLES_S = 120.0
"""Rates and quantiles still tell of the minute before; after a change of servers two have to pass."""
FORGET_S = 1800.0
"""After so long a load that was too much may be tried again: models and clients change."""
_MARGIN = 0.95
_LEAST_BUSY = 0.05
_TINY = 1e-9


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """The load per second that one server with this setting carries: a search on the model of the batcher."""

    time: service_time.ServiceTime
    objective: searches.Objective
    setting: service_time.Setting
    contention: float = 0.0
    spread: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Capacity:
    """Requests per second of one server, for the models in the proportion in which they are asked now."""

    per_server: float
    source: autoscaling.CapacitySource


@dataclasses.dataclass(frozen=True, slots=True)
class Learnt:
    """Loads per server: the largest that held the objective, the smallest that missed it (none: infinite).

    `recent` are the loads of the last looks, in which all requests were `in_time` or none were: latency lags
    behind load, so only a streak proves anything, and of it the load that proves least. `servers` have been
    as many since `since_s`.
    """

    held: float = 0.0
    missed: float = math.inf
    missed_at_s: float = 0.0
    recent: tuple[float, ...] = ()
    in_time: bool = True
    servers: int = 0
    since_s: float = 0.0

    def note(
        self, found: signals.Readings, current: int, objective: tuning.LatencyObjective, now_s: float
    ) -> Learnt:
        """With what is seen now; a service of `current` servers that come and go teaches nothing."""
        known = self
        if not found.ready == current == known.servers:
            known = dataclasses.replace(known, servers=found.ready, since_s=now_s)
        is_settled = found.ready == current and now_s - known.since_s >= SETTLES_S
        if known.missed < math.inf and now_s - known.missed_at_s > FORGET_S:
            known = dataclasses.replace(known, missed=math.inf)
        load, latency_s = _load_per_server(found), found.latency_s
        if not is_settled or load is None or latency_s.value is None or latency_s.kind != "Ok":
            return dataclasses.replace(known, recent=())
        if latency_s.value <= objective.target_milliseconds / 1000:
            return known._note_held(load)
        # What Prometheus has is the 99th percentile: above it a lower one may still be in time.
        return known._note_missed(load, now_s) if objective.percentile == "P99" else known

    def _note_held(self, load: float) -> Learnt:
        new = self._note_look(load, in_time=True)
        if len(new.recent) < STREAK:
            return new
        least = min(new.recent)
        missed = math.inf if least >= self.missed else self.missed
        return dataclasses.replace(new, held=max(self.held, least), missed=missed)

    def _note_missed(self, load: float, now_s: float) -> Learnt:
        new = self._note_look(load, in_time=False)
        if len(new.recent) < STREAK:
            return new
        missed = min(self.missed, max(new.recent))
        return dataclasses.replace(
            new, held=min(self.held, missed * _MARGIN), missed=missed, missed_at_s=now_s
        )

    def _note_look(self, load: float, *, in_time: bool) -> Learnt:
        before = self.recent if self.in_time == in_time else ()
        return dataclasses.replace(self, recent=(*before, load)[-STREAK:], in_time=in_time)

    def bound(self, capacity: float) -> float:
        """The capacity, where practice has not shown it to be more, or less."""
        return min(max(capacity, self.held), self.missed * _MARGIN)


def recall(decisions: Iterable[autoscaling.ScalingDecision]) -> Learnt:
    """What was learnt by the newest of `decisions` that tells; they come with the newest first."""
    known = (one.demand.capacity for one in decisions if one.demand and one.demand.source == "Learnt")
    return Learnt(held=next(known, 0.0))


def find(
    service: triton_service.TritonService,
    found: signals.Readings,
    capacities: Mapping[str, float],
    learnt: Learnt,
) -> Capacity | None:
    """None where nothing is known yet; `capacities` are those of models alone in a server."""
    if (alone := mix(service, found, capacities)) is not None:
        return Capacity(learnt.bound(alone), "Profile")
    load = _load_per_server(found)
    if load is None or found.busy.value is None or not found.ready:
        return Capacity(learnt.held, "Learnt") if learnt.held > _TINY else None
    busy = found.busy.value / found.ready / _count_instances(service)
    if busy < _LEAST_BUSY:
        return Capacity(learnt.held, "Learnt") if learnt.held > _TINY else None
    # Batches grow with the load, so that this is too little rather than too much.
    return Capacity(learnt.bound(load * BUSY_AT_OBJECTIVE / min(1.0, busy)), "Learnt")


def find_hardware(service: triton_service.TritonService) -> str:
    """What its servers run on, as a profile names it."""
    assignment = service.status.assignment
    return profiles.describe_hardware(assignment.accelerator if assignment else None)


def ask(
    service: triton_service.TritonService,
    known: Iterable[model_profile.ModelProfileSpec],
    hardware: str | None = None,
) -> Iterator[tuple[str, Question]]:
    """(model, question) for each model with a profile of this hardware, by default that of its servers."""
    objective = service.spec.objective
    if objective is None:
        return
    where = find_hardware(service) if hardware is None else hardware
    by_model = {one.model: one for one in known if one.hardware == where}
    latency = objective.latency
    aim = searches.Objective(tuning.QUANTILES[latency.percentile], latency.target_milliseconds / 1000)
    tunings = {one.name: one.tuning for one in service.status.models}
    for one in service.spec.models:
        profile = by_model.get(one.name)
        if profile is None:
            continue
        chosen = tunings.get(one.name)
        yield (
            one.name,
            Question(
                time=profiles.read_time(profile),
                objective=aim,
                setting=_read_setting(one, chosen),
                contention=((chosen.contention_percent if chosen else None) or 0) / 100,
                spread=min(1.0, profile.fit.error),
            ),
        )


def _read_setting(one: model.Model, chosen: tuning.TuningStatus | None) -> service_time.Setting:
    """What the servers run: what tuning chose, or what the author wrote."""
    if chosen is not None:
        setting = chosen.setting
        return service_time.Setting(
            setting.batch_size, setting.max_queue_delay_microseconds / 1e6, setting.instances
        )
    batching = one.batching
    instances = tuned.start(one).instances
    if batching is None or batching.mode == "Disabled":
        return service_time.Setting(1, instances=instances)
    delay_s = (batching.max_queue_delay_microseconds or 0) / 1e6
    preferred = tuple(batching.preferred_batch_sizes)
    return service_time.Setting(max(1, one.max_batch_size), delay_s, instances, preferred)


def mix(
    service: triton_service.TritonService, found: signals.Readings, capacities: Mapping[str, float]
) -> float | None:
    """Requests per second of one server that shares its time among models: λ / Σ(λₘ / Cₘ).

    An ensemble's requests are counted again for the models that it is made of, which do the work.
    """
    working = [one.name for one in service.spec.models if one.ensemble is None]
    if len(working) == 1:
        only = capacities.get(working[0], 0.0)
        return only if only > _TINY else None
    loads = {name: found.by_model.get(name, 0.0) for name in working}
    offered, total = found.offered.value or 0.0, math.fsum(loads.values())
    if offered <= _TINY or total <= _TINY:
        return None
    if any(load > _TINY and capacities.get(name, 0.0) <= _TINY for name, load in loads.items()):
        return None
    share = math.fsum(load / capacities[name] for name, load in loads.items() if load > _TINY)
    return offered / share


def _load_per_server(found: signals.Readings) -> float | None:
    offered = found.offered
    if offered.value is None or offered.kind != "Ok" or not found.ready or offered.value <= _TINY:
        return None
    return offered.value / found.ready


def find_delay_s(service: triton_service.TritonService) -> float:
    """How long requests wait on purpose, so that batches fill: the shortest, where models differ."""
    return min(one.delay_s for one in _list_settings(service))


def _count_instances(service: triton_service.TritonService) -> int:
    """Instances that can be busy at a time in one server."""
    return sum(one.instances for one in _list_settings(service))


def _list_settings(service: triton_service.TritonService) -> Sequence[service_time.Setting]:
    """Of all models that work themselves."""
    tunings = {one.name: one.tuning for one in service.status.models}
    working = [one for one in service.spec.models if one.ensemble is None]
    return [_read_setting(one, tunings.get(one.name)) for one in working] or [service_time.Setting(1)]
