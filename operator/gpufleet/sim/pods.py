"""One server pod of a simulated service: it starts, serves by the model of the batcher, drains, and counts.

The counters are Triton's as of docs/user_guide/metrics.md: all of a batch are counted when it is answered,
and each of its requests is billed the whole of its execution.
"""

from __future__ import annotations

import dataclasses
import math
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence

from gpufleet.sim import batcher

_WINDOW_SCRAPES = 4
"""Scrapes over which the latency summary reaches: 60 s at one in 15 s."""


class Minutes:
    """Requests by the minute in which they came: answered, answered too late, refused."""

    def __init__(self, objective_s: float) -> None:
        self.objective_s = objective_s
        self.answered: dict[int, int] = {}
        self.late: dict[int, int] = {}
        self.shed: dict[int, int] = {}

    def note_batch(self, came_s: Sequence[float], answered_s: float) -> None:
        """All of a batch are answered at once."""
        first, last = int(came_s[0] // 60), int(came_s[-1] // 60)
        due_s = answered_s - self.objective_s
        if first != last:
            split = bisect_left(came_s, 60.0 * last)
            self.note_batch(came_s[:split], answered_s)
            self.note_batch(came_s[split:], answered_s)
            return
        self.answered[first] = self.answered.get(first, 0) + len(came_s)
        if came_s[0] < due_s:
            self.late[first] = self.late.get(first, 0) + bisect_left(came_s, due_s)

    def note_shed(self, came_s: Sequence[float]) -> None:
        """Refused, or sent when no server was ready."""
        for one in came_s:
            minute = int(one // 60)
            self.shed[minute] = self.shed.get(minute, 0) + 1

    def is_violated(self, minute: int) -> bool:
        """Its P99 (nearest rank) is beyond the objective, or more than 1 % was refused."""
        answered, shed = self.answered.get(minute, 0), self.shed.get(minute, 0)
        if 100 * shed > answered + shed:
            return True
        within = answered - self.late.get(minute, 0)
        return within < math.ceil(0.99 * answered)


@dataclasses.dataclass(frozen=True, slots=True)
class Counters:
    """What a scrape sees, in seconds and requests; `pending` is a gauge."""

    at_s: float
    success: float = 0.0
    rejected: float = 0.0
    queue_s: float = 0.0
    compute_s: float = 0.0
    executions: float = 0.0
    pending: float = 0.0
    latency_s: float = 0.0
    """P99 of about the last minute; 0 where nothing was answered, or without summaries."""


class ServerPod:
    """`bound_s` is when it got its place in the fleet; unset while there is none."""

    def __init__(
        self,
        name: str,
        created_s: float,
        server: batcher.Server,
        *,
        overhead_s: float = 0.0,
        summaries: bool = False,
    ) -> None:
        self.name = name
        self.created_s = created_s
        self.bound_s: float | None = None
        self.ready_s = math.inf
        self.draining = False
        self.ended_s: float | None = None
        self.success = self.executions = self.rejected = 0
        self.queue_s = self.compute_s = self.latency_s = 0.0
        self._server = server
        self._overhead_s = overhead_s
        self._summaries = summaries
        self._running: list[batcher.Batch] = []
        self._answered: list[batcher.Batch] = []
        self._latencies: deque[list[float]] = deque(maxlen=_WINDOW_SCRAPES)

    def bind(self, now_s: float, cold_start_s: float) -> None:
        """It has a place, and is ready after its cold start."""
        self.bound_s, self.ready_s = now_s, now_s + cold_start_s

    def offer(self, came_s: Sequence[float]) -> None:
        """Requests that the balancer sends it."""
        self._server.offer(came_s)

    def advance(self, until_s: float, minutes: Minutes) -> None:
        """Serves until then."""
        if self._running:
            still = [one for one in self._running if one.end_s > until_s]
            for batch in self._running:
                if batch.end_s <= until_s:
                    self._count(batch, minutes)
            self._running = still
        take = self._server.take
        while taken := take(until_s):
            if taken.end_s <= until_s:
                self._count(taken, minutes)
            else:
                self._running.append(taken)
        if self._server.shed:
            minutes.note_shed(self._server.shed)
            self.rejected += len(self._server.shed)
            self._server.shed.clear()
        if self.draining and self.ended_s is None and not self._running and not self._server.waiting(until_s):
            self.ended_s = until_s

    def _count(self, batch: batcher.Batch, minutes: Minutes) -> None:
        start_s, end_s, came_s = batch
        size, came = len(came_s), sum(came_s)
        self.success += size
        self.executions += 1
        self.queue_s += size * start_s - came
        self.compute_s += size * (end_s - start_s)
        self.latency_s += size * end_s - came
        if self._summaries:
            self._answered.append(batch)
        minutes.note_batch(came_s, end_s + self._overhead_s)

    def in_flight_s(self, now_s: float) -> float:
        """The integral of requests in the pod over time, as Knative's queue-proxy reports concurrency."""
        inside = [*self._server.waiting(now_s), *(one for batch in self._running for one in batch.came_s)]
        return self.latency_s + len(inside) * now_s - sum(inside)

    def scrape(self, now_s: float) -> Counters:
        """What port 8002 says now."""
        return Counters(
            now_s,
            self.success,
            self.rejected,
            self.queue_s,
            self.compute_s,
            self.executions,
            len(self._server.waiting(now_s)),
            self._find_p99_s() if self._summaries else 0.0,
        )

    def _find_p99_s(self) -> float:
        """Of those that were answered since some scrapes ago; 0 where none was."""
        self._latencies.append(
            sorted(end_s - one + self._overhead_s for _, end_s, came in self._answered for one in came)
        )
        self._answered.clear()
        recent = sorted(one for part in self._latencies for one in part)
        return recent[math.ceil(0.99 * len(recent)) - 1] if recent else 0.0
