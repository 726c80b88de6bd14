"""Keys that wait for work: each once, never twice at the same time, failing ones less and less often."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from gpufleet import clock

K = TypeVar("K", bound=Hashable)

COALESCE_S = 0.1
"""Changes of one object within this time are one piece of work."""
FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 60.0

_log = logging.getLogger(__name__)


def compute_backoff_s(failures: int) -> float:
    """Seconds before the next attempt after so many failures in a row: doubling, up to a minute."""
    return min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(failures - 1, 30))


class Schedule(Generic[K]):
    """When each key is due; pure, time is an argument."""

    def __init__(self) -> None:
        self._due_s: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = itertools.count()
        self._running: dict[K, float | None] = {}
        self._failures: dict[K, int] = {}

    def add(self, key: K, due_s: float) -> None:
        """Due at `due_s`, or earlier where it already was; a failed key keeps its time.

        A key in work becomes due again once that work has ended.
        """
        if key in self._running:
            again_s = self._running[key]
            self._running[key] = due_s if again_s is None else min(again_s, due_s)
        elif key not in self._failures:
            self._put(key, due_s)

    def take(self, now_s: float) -> K | None:
        """The longest due key, in work until `succeeded` or `failed`; None while none is due."""
        due_s = self.next_due_s()
        if due_s is None or due_s > now_s:
            return None
        key = heapq.heappop(self._heap)[2]
        del self._due_s[key]
        self._running[key] = None
        return key

    def next_due_s(self) -> float | None:
        """When the next key is due."""
        while self._heap and self._due_s.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def succeeded(self, key: K, requeue_at_s: float | None) -> None:
        """Ends the work; its failures are forgotten."""
        self._failures.pop(key, None)
        for due_s in (self._running.pop(key), requeue_at_s):
            if due_s is not None:
                self._put(key, due_s)

    def failed(self, key: K, now_s: float) -> float:
        """Ends the work and puts the key back; seconds until it is tried again."""
        del self._running[key]
        self._failures[key] = self._failures.get(key, 0) + 1
        delay_s = compute_backoff_s(self._failures[key])
        self._put(key, now_s + delay_s)
        return delay_s

    def __len__(self) -> int:
        return len(self._due_s)

    def _put(self, key: K, due_s: float) -> None:
        if due_s < self._due_s.get(key, float("inf")):
            self._due_s[key] = due_s
            heapq.heappush(self._heap, (due_s, next(self._order), key))


class WorkQueue(Generic[K]):
    """A `Schedule` and the workers that serve it; errors that are `expected` are logged in one line."""

    def __init__(
        self, time_source: clock.Clock | None = None, expected: tuple[type[Exception], ...] = ()
    ) -> None:
        self._schedule: Schedule[K] = Schedule()
        self._expected = expected
        self._clock = time_source or clock.SystemClock()
        self._changed = asyncio.Event()

    def add(self, key: K) -> None:
        """Work on it soon."""
        self.add_after(key, COALESCE_S)

    def add_after(self, key: K, delay_s: float) -> None:
        """Work on it in `delay_s`, or earlier where that was asked for."""
        self._schedule.add(key, self._clock.monotonic_s() + delay_s)
        self._changed.set()

    def __len__(self) -> int:
        return len(self._schedule)

    async def run(self, worker: Callable[[K], Awaitable[float | None]], workers: int) -> None:
        """Serves keys until cancelled; `worker` returns in how many seconds it wants the key again."""
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._serve(worker))

    async def _serve(self, worker: Callable[[K], Awaitable[float | None]]) -> None:
        while True:
            key = self._schedule.take(self._clock.monotonic_s())
            if key is None:
                await self._wait()
            else:
                await self._work_on(key, worker)

    async def _work_on(self, key: K, worker: Callable[[K], Awaitable[float | None]]) -> None:
        try:
            again_s = await worker(key)
        except Exception as error:
            delay_s = self._schedule.failed(key, self._clock.monotonic_s())
            _log.warning(
                "work on %s failed: %s; next attempt in %.1f s",
                key,
                error or type(error).__name__,
                delay_s,
                # Where it came from tells nothing about an error that the cluster is known to give.
                exc_info=not isinstance(error, self._expected),
            )
        else:
            due_s = None if again_s is None else self._clock.monotonic_s() + again_s
            self._schedule.succeeded(key, due_s)
        self._changed.set()

    async def _wait(self) -> None:
        """Until a key is due or the schedule has changed."""
        self._changed.clear()
        due_s = self._schedule.next_due_s()
        limit_s = None if due_s is None else max(0.0, due_s - self._clock.monotonic_s())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), limit_s)


class Alarm:
    """Wakes one worker over and over: soon where it has rested for `pause_s`, else when it has.

    Soon is `gather_s` later, for what belongs together and does not come at the same moment.
    """

    def __init__(self, pause_s: float, gather_s: float = 0.0, time_source: clock.Clock | None = None) -> None:
        self._pause_s, self._gather_s = pause_s, gather_s
        self._clock = time_source or clock.SystemClock()
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """There is work to do."""
        self._rung.set()

    async def wait(self) -> None:
        """Until there is work; whoever waits has just worked."""
        rested_s = self._clock.monotonic_s() + self._pause_s
        await self._rung.wait()
        await asyncio.sleep(max(self._gather_s, rested_s - self._clock.monotonic_s()))
        self._rung.clear()
