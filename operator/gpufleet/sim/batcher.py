"""Triton's dynamic batcher as a discrete-event model: one queue, some instances, batches up to a size.

An idle instance takes what waits, up to the largest batch; fewer than a preferred size wait for at most the
queue delay (triton-inference-server/core: src/dynamic_batch_scheduler.cc). All times are in seconds.

`Server` goes from batch to batch and not from event to event: between two dispatches the queue only grows, so
that a batch is known by when an instance is free and who has come by then.
"""

from __future__ import annotations

import dataclasses
import functools
import heapq
import itertools
import math
import random
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from gpufleet.decide.triton import service_time

_WARM_UP = 0.1
"""Share of the requests that come before the queue is in its steady state."""
_FORGET = 4096
"""Requests that were served are dropped from the list in lumps of this size."""


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
        return mean_s * math.exp(rng.normalvariate(*_find_logarithm(self.spread)))


@functools.lru_cache
def _find_logarithm(spread: float) -> tuple[float, float]:
    """Mean and deviation of the logarithm of what has a mean of 1 and this coefficient of variation."""
    variance = math.log(1 + spread**2)
    return -variance / 2, math.sqrt(variance)


class Batch(NamedTuple):
    """Requests that are executed together; `came_s` is sorted."""

    start_s: float
    end_s: float
    came_s: Sequence[float]


class Server:
    """One model on one Triton: who waits, and until when its instances are busy.

    `queue_limit` is Triton's max_queue_size: who comes while so many wait is refused; 0 is no limit.
    """

    def __init__(
        self,
        setting: service_time.Setting,
        model: Model,
        rng: random.Random,
        *,
        queue_limit: int = 0,
        since_s: float = 0.0,
    ) -> None:
        self.shed: list[float] = []
        """When those came that were refused."""
        self._setting = setting
        self._model = model
        self._rng = rng
        self._limit = queue_limit or None
        self._largest = max(1, setting.max_batch)
        self._fills_at = max(1, setting.fills_at) if setting.delay_s else 1
        self._known: list[float] = []
        self._head = 0
        self._free_s = [since_s] * setting.instances

    def offer(self, came_s: Sequence[float]) -> None:
        """Requests that come, in order, and after all that were offered before."""
        self._known.extend(came_s)

    def waiting(self, now_s: float) -> Sequence[float]:
        """When those came that are in the queue; all batches that start by now have to be taken before."""
        end = bisect_right(self._known, now_s, self._head)
        return self._known[self._head : end if self._limit is None else min(end, self._head + self._limit)]

    def take(self, until_s: float) -> Batch | None:
        """The next batch, if it starts by then; everything that comes by then has to be offered."""
        known, head = self._known, self._head
        if head >= len(known):
            return None
        start_s, size = self._find_start()
        if start_s > until_s:
            return None
        if self._limit is not None and size > self._limit:
            self._refuse(size)
            size = self._limit
        size = min(size, self._largest)
        came_s = known[head : head + size]
        self._advance(size)
        busy = sum(one > start_s for one in self._free_s) if len(self._free_s) > 1 else 0
        end_s = start_s + self._model.draw_s(size, busy, self._rng)
        heapq.heapreplace(self._free_s, end_s)
        return Batch(start_s, end_s, came_s)

    def _find_start(self) -> tuple[float, int]:
        """When the next batch starts, and how many wait then.

        An instance that is idle starts at the request that fills a batch, or when the first has waited long
        enough; who comes at the very same moment is too late.
        """
        known, head = self._known, self._head
        free_s, filled = self._free_s[0], head + self._fills_at - 1
        ready_s = known[head] + self._setting.delay_s
        is_filled = filled < len(known) and known[filled] <= ready_s
        if is_filled:
            ready_s = known[filled]
        if ready_s >= free_s and is_filled:
            return ready_s, self._fills_at
        start_s = ready_s if ready_s >= free_s else free_s
        return start_s, bisect_right(known, start_s, head) - head

    def _refuse(self, waiting: int) -> None:
        """Takes those out who came when the queue was full: nothing left it since the dispatch before."""
        first = self._head + (self._limit or 0)
        self.shed += self._known[first : self._head + waiting]
        del self._known[first : self._head + waiting]

    def _advance(self, size: int) -> None:
        self._head += size
        if self._head > _FORGET:
            del self._known[: self._head]
            self._head = 0


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
    server = Server(setting, model, random.Random(service_seed))
    server.offer(list(itertools.accumulate(rng.expovariate(rate) for _ in range(requests))))
    batches: list[Batch] = []
    while batch := server.take(math.inf):
        batches.append(batch)
    return _summarise(batches, requests, model.overhead_s)


def run_closed(
    setting: service_time.Setting, model: Model, concurrency: int, requests: int = 20_000, seed: int = 1
) -> Run:
    """So many clients that each send again as soon as they are answered."""
    server = Server(setting, model, random.Random(seed))
    server.offer([0.0] * concurrency)
    batches: list[Batch] = []
    running: list[tuple[float, int]] = []
    done = 0
    while done < requests:
        # Who starts at the moment of an answer does not see yet who is back from it.
        batch = server.take(running[0][0] if running else math.inf)
        if batch is not None:
            batches.append(batch)
            heapq.heappush(running, (batch.end_s, len(batch.came_s)))
            continue
        end_s, size = heapq.heappop(running)
        done += size
        server.offer([end_s + model.overhead_s] * size)
    return _summarise(batches, requests, model.overhead_s)


def _summarise(batches: Sequence[Batch], requests: int, overhead_s: float) -> Run:
    """In the order in which they are answered, up to the batch that answers the last request."""
    done = [
        (came_s, end_s) for _, end_s, came in sorted(batches, key=lambda one: one.end_s) for came_s in came
    ]
    last_s = done[requests - 1][1]
    kept = [one for one in done[int(requests * _WARM_UP) :] if one[1] <= last_s]
    sizes = [len(one.came_s) for one in batches[int(len(batches) * _WARM_UP) :]]
    first_s = kept[0][1]
    throughput = (len(kept) - 1) / (last_s - first_s) if last_s > first_s else math.inf
    latencies = sorted(end_s - came_s + overhead_s for came_s, end_s in kept)
    return Run(tuple(latencies), throughput, sum(sizes) / len(sizes))
