"""Triton's dynamic batcher as a discrete-event model: one queue, some instances, batches up to a size.

An idle instance takes what waits, up to the largest batch; fewer than a preferred size wait for at most the
queue delay (triton-inference-server/core: src/dynamic_batch_scheduler.cc). All times are in seconds.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Iterator

from gpufleet.decide.triton import service_time

_WARM_UP = 0.1
"""Share of the requests that come before the queue is in its steady state."""


@dataclasses.dataclass(frozen=True, slots=True)
class Model:
    """How long a batch takes, and what a request costs besides.

    `spread` is the coefficient of variation of a batch's time. `contention` says what a second busy instance
    costs the first: 0 nothing, 1 as much as if they took turns. `overhead_s` is spent outside of queue and
    execution: network, copying.
    """

    time: service_time.ServiceTime
    spread: float = 0.0
    contention: float = 0.0
    overhead_s: float = 0.0

    def draw_s(self, batch: int, busy: int, rng: random.Random) -> float:
        """The time of one batch while `busy` other instances work."""
        mean_s = self.time.predict_s(batch) * (1 + self.contention * busy)
        if not self.spread:
            return mean_s
        variance = math.log(1 + self.spread**2)
        return mean_s * rng.lognormvariate(-variance / 2, math.sqrt(variance))


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """What was measured after the warm-up; latencies are sorted."""

    latencies_s: tuple[float, ...]
    throughput: float
    mean_batch: float

    def quantile_s(self, quantile: float) -> float:
        """Latency at the nearest rank."""
        return self.latencies_s[max(0, math.ceil(quantile * len(self.latencies_s)) - 1)]

    @property
    def mean_s(self) -> float:
        return math.fsum(self.latencies_s) / len(self.latencies_s)


def run_open(
    setting: service_time.Setting,
    model: Model,
    rate: float,
    requests: int = 20_000,
    seed: int = 1,
    service_seed: int = 1,
) -> Run:
    """Requests that arrive as a Poisson process of `rate` per second, whatever the server does.

    Arrivals have a seed of their own: equal ones can be sent to a real server.
    """
    rng = random.Random(seed)
    arrivals = itertools.accumulate(rng.expovariate(rate) for _ in range(requests))
    return _Server(setting, model, random.Random(service_seed)).run(arrivals, lambda _: None, requests)


def run_closed(
    setting: service_time.Setting, model: Model, concurrency: int, requests: int = 20_000, seed: int = 1
) -> Run:
    """So many clients that each send again as soon as they are answered."""
    rng = random.Random(seed)
    think_s = model.overhead_s
    return _Server(setting, model, rng).run(
        iter([0.0] * concurrency), lambda done_s: done_s + think_s, requests
    )


class _Server:
    """Events are (time, number, kind, instance): numbers keep the order of what happens at the same time."""

    def __init__(self, setting: service_time.Setting, model: Model, rng: random.Random) -> None:
        self._setting = setting
        self._model = model
        self._rng = rng
        self._waiting: deque[float] = deque()
        self._idle = list(range(setting.instances))
        self._running: dict[int, list[float]] = {}
        self._events: list[tuple[float, int, str, int]] = []
        self._numbers = itertools.count()
        self._batches: list[int] = []

    def run(
        self, arrivals: Iterator[float], next_arrival: Callable[[float], float | None], requests: int
    ) -> Run:
        """Until so many requests are answered."""
        done: list[tuple[float, float]] = []
        self._schedule_next(arrivals)
        while self._events and len(done) < requests:
            now_s, _, kind, instance = heapq.heappop(self._events)
            if kind == "arrive":
                self._waiting.append(now_s)
                self._schedule_next(arrivals)
            elif kind == "return":
                self._waiting.append(now_s)
            elif kind == "end":
                for came_s in self._running.pop(instance):
                    done.append((came_s, now_s))
                    again_s = next_arrival(now_s)
                    if again_s is not None:
                        self._push(again_s, "return")
                self._idle.append(instance)
            self._dispatch(now_s)
        return self._summarise(done)

    def _schedule_next(self, arrivals: Iterator[float]) -> None:
        due_s = next(arrivals, None)
        if due_s is not None:
            self._push(due_s, "arrive")

    def _push(self, when_s: float, kind: str, instance: int = 0) -> None:
        heapq.heappush(self._events, (when_s, next(self._numbers), kind, instance))

    def _dispatch(self, now_s: float) -> None:
        while self._idle and self._waiting:
            size = min(len(self._waiting), max(1, self._setting.max_batch))
            due_s = self._waiting[0] + self._setting.delay_s
            if size < self._setting.fills_at and due_s > now_s:
                self._push(due_s, "look")
                return
            instance = self._idle.pop()
            self._running[instance] = [self._waiting.popleft() for _ in range(size)]
            self._batches.append(size)
            took_s = self._model.draw_s(size, self._setting.instances - len(self._idle) - 1, self._rng)
            self._push(now_s + took_s, "end", instance)

    def _summarise(self, done: list[tuple[float, float]]) -> Run:
        kept = done[int(len(done) * _WARM_UP) :]
        latencies = sorted(end_s - came_s + self._model.overhead_s for came_s, end_s in kept)
        first_s, last_s = kept[0][1], kept[-1][1]
        batches = self._batches[int(len(self._batches) * _WARM_UP) :]
        throughput = (len(kept) - 1) / (last_s - first_s) if last_s > first_s else math.inf
        return Run(tuple(latencies), throughput, sum(batches) / len(batches))
