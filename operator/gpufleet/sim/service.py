"""One simulated service under a load, on a finite fleet, with any autoscaler.

Requests go to ready pods in turn, as a gRPC client with the round_robin policy sends them: that is what a
headless Service gives Triton's clients, and the least helpful of the usual balancers. Time goes from event to
event (scrape, tick of the autoscaler, pod ready); in between each pod serves for itself.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
from bisect import bisect_right
from collections.abc import Sequence
from typing import Protocol

from gpufleet.decide.triton import service_time
from gpufleet.sim import batcher, loads, pods, scrapes

_SCRAPE_PHASE_S = 7.5
"""Scrapes and decisions are not in step."""


@dataclasses.dataclass(frozen=True, slots=True)
class Setup:
    """A service and its surroundings. `fleet` is how many pods have a place at the same time.

    A cold start is lognormal with a median and the standard deviation of its logarithm. Nothing is judged
    before `warm_up_s`, in which the load is that of the first second. In the intervals of `blind` Prometheus
    is down. `summaries` is Triton's summary_latencies, off as Triton's.
    """

    model: batcher.Model
    setting: service_time.Setting
    objective_s: float
    queue_limit: int = 0
    cold_start_s: float = 60.0
    cold_start_spread: float = 0.25
    min_replicas: int = 1
    max_replicas: int = 20
    fleet: int = 20
    start_replicas: int = 1
    warm_up_s: float = 360.0
    scrape_s: float = 15.0
    seed: int = 1
    blind: tuple[tuple[float, float], ...] = ()
    summaries: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class PodState:
    """A pod as the API server shows it; one without a place is Pending."""

    name: str
    ready: bool
    deleting: bool
    bound: bool
    created_s: float
    ready_s: float | None
    """None while it is not ready."""


@dataclasses.dataclass(frozen=True, slots=True)
class Observation:
    """What an autoscaler may look at; `replicas` is what it asked for last."""

    replicas: int
    pods: tuple[PodState, ...]
    prometheus: scrapes.Prometheus
    in_flight_s: float = 0.0
    """The integral over time of requests in all pods: its difference is concurrency."""

    @property
    def ready(self) -> int:
        return sum(one.ready and not one.deleting for one in self.pods)


class Policy(Protocol):
    """An autoscaler: looks every `interval_s` and says how many replicas there are to be."""

    interval_s: float

    def decide(self, seen: Observation, now_s: float) -> int: ...


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What a run cost and gave; `replicas` is (second, number) at every change."""

    minutes: int
    violated: int
    gpu_hours: float
    answered: int
    late: int
    shed: int
    replicas: tuple[tuple[float, int], ...]

    @property
    def changes(self) -> int:
        """Of the number of replicas, after the warm-up."""
        return len(self.replicas) - 1


def run(setup: Setup, load: loads.Load, policy: Policy) -> Outcome:
    """The whole load, from the start of the warm-up until the last request is answered."""
    return _Run(setup, policy).run(load)


class _Run:
    def __init__(self, setup: Setup, policy: Policy) -> None:
        self._setup = setup
        self._policy = policy
        self._minutes = pods.Minutes(setup.objective_s)
        self._prometheus = scrapes.Prometheus(setup.blind)
        self._numbers = itertools.count()
        self._pods: list[pods.ServerPod] = []
        self._ended: list[pods.ServerPod] = []
        self._ready: list[pods.ServerPod] = []
        self._replicas = 0
        self._turn = 0
        self._past_in_flight_s = 0.0

    def run(self, load: loads.Load) -> Outcome:
        setup, end_s = self._setup, self._setup.warm_up_s + load.seconds
        came_s = load.arrivals(setup.seed, setup.warm_up_s)
        self._scale(setup.start_replicas, 0.0, cold=False)
        replicas = [(setup.warm_up_s, setup.start_replicas)]
        scrape_s, tick_s, now_s, cursor = _SCRAPE_PHASE_S, self._policy.interval_s, 0.0, 0
        while now_s < end_s:
            now_s = min(scrape_s, tick_s, end_s, self._next_ready_s(now_s))
            until = bisect_right(came_s, now_s, cursor)
            self._balance(came_s[cursor:until])
            cursor = until
            self._advance(now_s)
            if now_s == scrape_s:
                self._prometheus.scrape(self._pods, now_s)
                scrape_s += setup.scrape_s
            if now_s == tick_s:
                self._decide(now_s)
                tick_s += self._policy.interval_s
                if now_s <= setup.warm_up_s:
                    replicas = [(setup.warm_up_s, self._replicas)]
                elif replicas[-1][1] != self._replicas:
                    replicas.append((now_s, self._replicas))
            self._find_ready(now_s)
        for pod in self._pods:
            pod.advance(math.inf, self._minutes)
        return self._summarise(end_s, replicas)

    def _next_ready_s(self, now_s: float) -> float:
        return min(
            (one.ready_s for one in self._pods if one.ready_s > now_s and not one.draining), default=math.inf
        )

    def _balance(self, came_s: Sequence[float]) -> None:
        """In turn; without a ready server a caller is refused."""
        if not self._ready:
            self._minutes.note_shed(came_s)
            return
        count = len(self._ready)
        for place, pod in enumerate(self._ready):
            pod.offer(came_s[(place - self._turn) % count :: count])
        self._turn = (self._turn + len(came_s)) % count

    def _advance(self, now_s: float) -> None:
        for pod in self._pods:
            pod.advance(now_s, self._minutes)
        if any(one.ended_s is not None for one in self._pods):
            self._past_in_flight_s += sum(one.latency_s for one in self._pods if one.ended_s is not None)
            self._ended += [one for one in self._pods if one.ended_s is not None]
            self._pods = [one for one in self._pods if one.ended_s is None]
            self._bind(now_s)

    def _decide(self, now_s: float) -> None:
        seen = Observation(
            self._replicas,
            tuple(_describe(one, now_s) for one in self._pods),
            self._prometheus,
            self._past_in_flight_s + sum(one.in_flight_s(now_s) for one in self._pods),
        )
        wanted = self._policy.decide(seen, now_s)
        setup = self._setup
        if not setup.min_replicas <= wanted <= setup.max_replicas:
            raise AssertionError(
                f"{wanted} replicas are not within {setup.min_replicas} and {setup.max_replicas}"
            )
        self._scale(wanted, now_s)

    def _scale(self, wanted: int, now_s: float, *, cold: bool = True) -> None:
        """Pods come or go; those go first that are not ready, then the youngest, as a ReplicaSet does it."""
        kept = [one for one in self._pods if not one.draining]
        for _ in range(wanted - len(kept)):
            self._create(now_s)
        leaving = sorted(kept, key=lambda one: (-one.ready_s, -one.created_s))[: max(0, len(kept) - wanted)]
        for pod in leaving:
            pod.draining = True
            pod.advance(now_s, self._minutes)
        self._replicas = wanted
        self._advance(now_s)
        self._bind(now_s, cold=cold)
        self._find_ready(now_s)

    def _find_ready(self, now_s: float) -> None:
        """Who comes after `now_s` is sent to one of these."""
        self._ready = [one for one in self._pods if one.ready_s <= now_s and not one.draining]

    def _create(self, now_s: float) -> None:
        setup, number = self._setup, next(self._numbers)
        server = batcher.Server(
            setup.setting,
            setup.model,
            random.Random(setup.seed * 100_003 + number),
            queue_limit=setup.queue_limit,
            since_s=now_s,
        )
        pod = pods.ServerPod(
            f"p{number:05}", now_s, server, overhead_s=setup.model.overhead_s, summaries=setup.summaries
        )
        self._pods.append(pod)

    def _bind(self, now_s: float, *, cold: bool = True) -> None:
        """Pending pods get the places that are free."""
        setup = self._setup
        held = sum(one.bound_s is not None for one in self._pods)
        for pod in self._pods:
            if pod.bound_s is None and not pod.draining and held < setup.fleet:
                rng = random.Random(setup.seed * 100_003 + int(pod.name[1:]) + 50_000)
                took_s = setup.cold_start_s * math.exp(rng.gauss(0.0, setup.cold_start_spread))
                pod.bind(now_s, took_s if cold else 0.0)
                held += 1
        if held > setup.fleet:
            raise AssertionError(f"{held} pods have a place in a fleet of {setup.fleet}")

    def _summarise(self, end_s: float, replicas: list[tuple[float, int]]) -> Outcome:
        from_s = self._setup.warm_up_s
        judged = range(int(from_s // 60), math.ceil(end_s / 60))
        lives = (
            (one.bound_s, end_s if one.ended_s is None else one.ended_s)
            for one in (*self._pods, *self._ended)
        )
        held_s = sum(
            max(0.0, min(until_s, end_s) - max(bound_s, from_s))
            for bound_s, until_s in lives
            if bound_s is not None
        )
        minutes = self._minutes
        return Outcome(
            minutes=len(judged),
            violated=sum(minutes.is_violated(one) for one in judged),
            gpu_hours=held_s / 3600,
            answered=sum(minutes.answered.get(one, 0) for one in judged),
            late=sum(minutes.late.get(one, 0) for one in judged),
            shed=sum(minutes.shed.get(one, 0) for one in judged),
            replicas=tuple(replicas),
        )


def _describe(pod: pods.ServerPod, now_s: float) -> PodState:
    return PodState(
        name=pod.name,
        ready=pod.ready_s <= now_s,
        deleting=pod.draining,
        bound=pod.bound_s is not None,
        created_s=pod.created_s,
        ready_s=pod.ready_s if pod.ready_s <= now_s else None,
    )
