"""All services of one pass: the scaling of each, and what is to be remembered of it until the next."""

from __future__ import annotations

import dataclasses
import datetime
import math
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gpufleet.api import autoscaling, triton_service
from gpufleet.decide import diagnosis
from gpufleet.decide.autoscaling import (
    behavior,
    capacity,
    coldstart,
    forecast,
    policy,
    rehearsal,
    scaler,
    schedules,
    signals,
    sleep,
)
from gpufleet.decide.autoscaling import demand as weighing
from gpufleet.state import fleet, names, samples, snapshot

PODS_OVERDUE = "PodsOverdue"


@dataclasses.dataclass(frozen=True, slots=True)
class Remembered:
    """Of one service: its windows, the servers it had when it was looked at last, and what it has taught."""

    windows: behavior.Memory
    replicas: int
    history: forecast.History = dataclasses.field(default_factory=forecast.History)
    starts: coldstart.ColdStarts = dataclasses.field(default_factory=coldstart.ColdStarts)
    learnt: capacity.Learnt = dataclasses.field(default_factory=capacity.Learnt)
    idle_since_s: float | None = None
    rehearsed: rehearsal.Choice = rehearsal.DEFAULT
    look: int = 0
    """Number of the last look that taught anything."""
    carries: float = 0.0
    """Requests per second of one server, when it was known last."""
    hardware: str = ""
    """Of the servers; what one carries is learnt anew on another."""


Memories = Mapping[str, Remembered]


@dataclasses.dataclass(frozen=True, slots=True)
class Pass:
    """What one pass has found, by the UID of each service; `questions` are asked of the worker."""

    scalings: Mapping[str, scaler.Scaling] = dataclasses.field(default_factory=dict)
    memories: Memories = dataclasses.field(default_factory=dict)
    readings: Mapping[str, signals.Readings] = dataclasses.field(default_factory=dict)
    questions: tuple[capacity.Question, ...] = ()


def scale_all(
    view: snapshot.Snapshot,
    look: samples.Look,
    before: Memories,
    now: datetime.datetime,
    answers: Mapping[Any, Any] | None = None,
    rate: float = 1.0,
) -> Pass:
    """For every service whose mode is not Off. Nothing is decided before Prometheus was asked.

    `answers` are what the worker has found, by question. Another `rate` than 1 supposes that the offered load
    were that many times what it is; what is remembered is what was seen all the same.
    """
    scaled = [one for one in view.services if one.spec.autoscaling and one.spec.autoscaling.mode != "Off"]
    if not scaled or not look.number:
        return Pass(memories=before if scaled else {})
    pods: dict[tuple[str, str], list[fleet.Pod]] = defaultdict(list)
    for pod in view.pods:
        if name := pod.labels.get(names.SERVICE_LABEL):
            pods[pod.namespace, name].append(pod)
    found: dict[str, _Found] = {}
    for service in scaled:
        key = (service.metadata.namespace, service.metadata.name)
        known = before.get(service.metadata.uid)
        found[service.metadata.uid] = _scale(service, view, pods[key], look, known, now, answers or {}, rate)
    return Pass(
        {uid: one.scaling for uid, one in found.items()},
        {uid: one.remembered for uid, one in found.items()},
        {uid: one.readings for uid, one in found.items()},
        tuple(question for one in found.values() for question in one.questions),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class _Found:
    scaling: scaler.Scaling
    remembered: Remembered
    readings: signals.Readings
    questions: tuple[capacity.Question, ...]


def _scale(
    service: triton_service.TritonService,
    view: snapshot.Snapshot,
    pods: Sequence[fleet.Pod],
    look: samples.Look,
    before: Remembered | None,
    now: datetime.datetime,
    answers: Mapping[Any, Any],
    rate: float,
) -> _Found:
    now_s, current = now.timestamp(), find_replicas(service, view)
    spec = service.spec.autoscaling
    if spec is None:
        raise ValueError(f"{service.metadata.name} is not scaled by load")
    seen = signals.read(pods, look, capacity.find_delay_s(service))
    readings = signals.multiply(seen, rate)
    known = _remember(service, before, pods, seen, look.number, current, now_s)
    asked = dict(capacity.ask(service, view.profiles.get(service.metadata.uid, ())))
    carried = {name: answers[question] for name, question in asked.items() if question in answers}
    past = weighing.Past(known.history, known.rehearsed, known.learnt, known.starts.p90_s())
    demand = weighing.weigh(service, seen, carried, past, now_s, rate)
    _, late = known.starts.split_starting(pods, now_s)
    slept = sleep.look(
        service,
        spec,
        readings,
        current,
        look.waiting.get((service.metadata.namespace, service.metadata.name), 0.0) * rate,
        known.idle_since_s,
        now_s,
    )
    case = scaler.Case(
        spec,
        policy.Facts(readings, current, len(late), service.spec.objective is not None, demand),
        tuple(_find_floors(spec, slept, now)),
        weighing.describe(service, demand),
        _find_trouble(current, late, known.starts),
        slept.mark,
        _find_down_window_s(service, known),
    )
    scaling, windows = scaler.scale(case, known.windows, now_s)
    carries = demand.capacity if demand else known.carries
    after = dataclasses.replace(known, windows=windows, idle_since_s=slept.idle_since_s, carries=carries)
    return _Found(scaling, after, readings, tuple(one for one in asked.values() if one not in answers))


def _remember(
    service: triton_service.TritonService,
    before: Remembered | None,
    pods: Sequence[fleet.Pod],
    readings: signals.Readings,
    look: int,
    current: int,
    now_s: float,
) -> Remembered:
    """What is known with this look; it may be more than what is decided from it.

    Passes come with every change of the fleet: what was seen already teaches nothing a second time.
    """
    known = before or _begin(service, current, now_s)
    windows = known.windows
    if known.replicas != current:
        windows = windows.note_change(current - known.replicas, now_s)
    known = dataclasses.replace(
        known, windows=windows, replicas=current, starts=known.starts.note(pods, now_s)
    )
    hardware = capacity.find_hardware(service)
    if hardware != known.hardware:
        known = dataclasses.replace(known, hardware=hardware, learnt=capacity.Learnt(), carries=0.0)
    if look == known.look:
        return known
    offered = readings.offered
    load = offered.value if offered.kind in ("Ok", "Idle") else None
    history, learnt, rehearsed = known.history.note(load, now_s), known.learnt, known.rehearsed
    if (objective := service.spec.objective) and (spec := service.spec.autoscaling):
        learnt = learnt.note(readings, current, objective.latency, now_s)
        rehearsed = _rehearse(spec, history, known)
    return dataclasses.replace(known, look=look, history=history, learnt=learnt, rehearsed=rehearsed)


def _begin(service: triton_service.TritonService, current: int, now_s: float) -> Remembered:
    """What the record of decisions tells of the time before the operator started, and nothing else yet.

    Services look for their season in different passes, because looking takes a while.
    """
    history = forecast.History(look_at=zlib.crc32(service.metadata.uid.encode()) % forecast.LOOK)
    record, choice = service.status.autoscaling, service.status.slice_choice
    moved_at = choice.moved_at if choice else None
    # What a server carried on another slice says nothing of this one.
    told = [one for one in (record.decisions if record else ()) if moved_at is None or one.time > moved_at]
    return Remembered(
        behavior.Memory(since_s=now_s),
        current,
        history,
        learnt=capacity.recall(told),
        hardware=capacity.find_hardware(service),
    )


def _find_down_window_s(service: triton_service.TritonService, known: Remembered) -> int:
    """How long a server is kept that is not needed; with targets an HPA's default."""
    spec = service.spec.autoscaling
    if service.spec.objective is None or spec is None or spec.targets:
        return behavior.DOWN_WINDOW_S
    return round(known.rehearsed.window * known.history.bin_s)


def _rehearse(
    spec: autoscaling.Autoscaling, history: forecast.History, known: Remembered
) -> rehearsal.Choice:
    """Now and then, and not for all services in one pass; at once where a trend is believed, or no more."""
    index = history.index
    if index is None or index == known.history.index:
        return known.rehearsed
    start_s = known.starts.p90_s()
    ahead = forecast.predict(history, start_s, index * history.bin_s)
    follows_trend = ahead is not None and ahead.method == "Trend"
    is_same = follows_trend == known.rehearsed.follows_trend
    if is_same and (index - history.look_at) % rehearsal.EVERY:
        return known.rehearsed
    bins = max(1, math.ceil(start_s / history.bin_s))
    confidence = spec.confidence_percent / 100
    return rehearsal.choose(history.loads, bins, confidence, known.carries, follows_trend=follows_trend)


def _find_floors(
    spec: autoscaling.Autoscaling, slept: sleep.Sleep, now: datetime.datetime
) -> Iterator[scaler.Floor]:
    yield scaler.Floor(spec.min_replicas, scaler.AT_MINIMUM, f"minReplicas is {spec.min_replicas}")
    if held := schedules.find_floor(spec.schedules, now):
        message = f"schedule {held.name} keeps at least {held.min_replicas}"
        yield scaler.Floor(held.min_replicas, scaler.SCHEDULED, message)
    if slept.floor:
        yield scaler.Floor(slept.floor, slept.reason, slept.message)


def _find_trouble(
    current: int, late: Sequence[fleet.Pod], starts: coldstart.ColdStarts
) -> tuple[str, str] | None:
    """What stands in the way, where the number itself does not move."""
    if current == 0:
        return sleep.ASLEEP, sleep.describe_zero(starts.p90_s())
    never = [pod for pod in late if pod.uid in starts.awaited]
    if not never:
        return None
    cause = diagnosis.diagnose(never)
    why = f": {cause[1]}" if cause else ""
    return (
        PODS_OVERDUE,
        f"{len(never)} of {current} servers have not become ready within {starts.deadline_s():.0f} s{why}",
    )


def find_replicas(service: triton_service.TritonService, view: snapshot.Snapshot) -> int:
    """Servers that it has: assigned, or those that run where the assignment was lost, at first one.

    In Advisory `spec.replicas` says; in Active the API server refuses it.
    """
    if service.spec.replicas is not None:
        return service.spec.replicas
    before = service.status.assignment
    return before.replicas if before else view.live_replicas.get(service.metadata.uid, 1)
