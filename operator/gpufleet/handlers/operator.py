"""The composition of the leader: kopf's watch, the stores, the work queue and the two loops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from gpufleet import clock, cycle, kube, reconcile, repartition, runtime, settings, worker, workqueue
from gpufleet.decide.autoscaling import recall
from gpufleet.handlers import http, watch
from gpufleet.observe import agents, cluster, past, progress, prometheus
from gpufleet.report import metrics
from gpufleet.sim import searches
from gpufleet.state import samples

CYCLE_PAUSE_S = 0.2
"""Shortest time between two passes over the fleet: what changes meanwhile is one pass."""
CYCLE_GATHER_S = 0.05
"""How long the first change after a rest waits for others: one apply may bring a pool and who needs it."""
MIG_PAUSE_S = 1.0
"""Shortest time between two looks at MIG layouts, none of which is urgent."""
MIG_REST = 3.0
"""How long is rested after a look at MIG layouts, as a multiple of what it took."""
LAG_PROBE_S = 0.05

_log = logging.getLogger(__name__)


class Leader:
    """Everything that runs while this process leads."""

    def __init__(self, client: kube.Client, options: settings.Settings, life: http.Life) -> None:
        self._options = options
        self._life = life
        self._clock = clock.SystemClock()
        self._cluster = cluster.Cluster(client, options, self._clock)
        self._queue: workqueue.WorkQueue[runtime.Key] = workqueue.WorkQueue(
            self._clock, expected=(kube.ApiError,)
        )
        self._wanted = workqueue.Alarm(CYCLE_PAUSE_S, CYCLE_GATHER_S, self._clock)
        self._layouts = workqueue.Alarm(MIG_PAUSE_S, CYCLE_GATHER_S, self._clock)
        self._runtime = runtime.Runtime(
            client=client,
            cluster=self._cluster,
            settings=options,
            clock=self._clock,
            worker=worker.Worker(searches.COMMAND),
            wake_cycle=self._wanted.ring,
            hasten=lambda key: self._queue.add_after(key, 0.0),
        )
        self._cluster.on_dirty = self._mark_dirty
        self._cluster.on_fleet_change = self._ring

    async def run(self) -> None:
        """Runs until cancelled. Raises watch.WatchEndedError where kopf has given up."""
        self._life.cluster, self._life.runtime = self._cluster, self._runtime
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch_gauges())
                tasks.create_task(self._probe_lag())
                self._cluster.start(tasks)
                await self._cluster.wait_synced()
                tasks.create_task(watch.run(self._options, self._cluster.note_event))
                self._life.is_synced = True
                tasks.create_task(self._queue.run(self._work_on, self._options.workers))
                tasks.create_task(self._run_for_ever(self._wanted, self._run_cycle, "the fleet"))
                tasks.create_task(self._run_for_ever(self._layouts, self._run_layouts, "MIG layouts"))
                tasks.create_task(self._resync_for_ever())
                tasks.create_task(agents.AgentPoller(self._cluster, self._options, self._clock).run())
                tasks.create_task(progress.ProgressPoller(self._cluster, self._options, self._clock).run())
                tasks.create_task(prometheus.Sampler(self._options, self._note_look, self._clock).run())
                tasks.create_task(past.Historian(self._options, self._note_past, self._clock).run())
        finally:
            self._life.is_synced, self._life.cluster, self._life.runtime = False, None, None
            await self._runtime.worker.close()

    def _mark_dirty(self, key: cluster.Key) -> None:
        self._queue.add(runtime.Key(*key))
        self._ring()

    def _ring(self) -> None:
        self._wanted.ring()
        self._layouts.ring()

    def _note_look(self, look: samples.Look) -> None:
        """Samples are looked at where something is scaled by them."""
        metrics.PROMETHEUS_UP.set(not look.error)
        self._runtime.look = look
        if self._cluster.needs_samples():
            self._wanted.ring()

    def _note_past(self, found: recall.Past) -> None:
        self._runtime.past = found

    async def _work_on(self, key: runtime.Key) -> float | None:
        result = "error"
        try:
            again_s = await reconcile.reconcile(key, self._runtime)
            result = "ok"
        finally:
            metrics.RECONCILES.labels(key.kind, result).inc()
        return again_s

    async def _run_cycle(self) -> None:
        await cycle.run_once(self._runtime)

    async def _run_layouts(self) -> None:
        began_s = self._clock.monotonic_s()
        again_s = await repartition.run_once(self._runtime)
        if again_s is not None:
            asyncio.get_running_loop().call_later(again_s, self._layouts.ring)
        # A large fleet takes seconds to plan; most of the processor is left to the rest.
        await asyncio.sleep(MIG_REST * (self._clock.monotonic_s() - began_s))

    async def _run_for_ever(
        self, wanted: workqueue.Alarm, run: Callable[[], Awaitable[None]], what: str
    ) -> None:
        failures = 0
        while True:
            await wanted.wait()
            try:
                await run()
                failures = 0
            except Exception as error:
                failures += 1
                delay_s = workqueue.compute_backoff_s(failures)
                trace = not isinstance(error, kube.ApiError)
                _log.warning(
                    "the pass over %s failed: %s; next in %.1f s", what, error, delay_s, exc_info=trace
                )
                wanted.ring()
                await asyncio.sleep(delay_s)

    async def _resync_for_ever(self) -> None:
        while True:
            known = self._cluster.keys()
            for key in known:
                self._mark_dirty(key)
            self._ring()
            await asyncio.sleep(self._options.resync_s)

    async def _watch_gauges(self) -> None:
        while True:
            metrics.QUEUE_DEPTH.set(len(self._queue))
            for kind, age_s in self._cluster.ages().items():
                metrics.WATCH_AGE.labels(kind).set(age_s)
            await asyncio.sleep(1)

    async def _probe_lag(self) -> None:
        while True:
            due_s = self._clock.monotonic_s() + LAG_PROBE_S
            await asyncio.sleep(LAG_PROBE_S)
            metrics.LOOP_LAG.observe(max(0.0, self._clock.monotonic_s() - due_s))


async def lead(options: settings.Settings, life: http.Life) -> None:
    """Works as the leader until cancelled."""
    async with kube.connect(options, _count_write, _count_answer) as client:
        await Leader(client, options, life).run()


def _count_write(verb: str, kind: str) -> None:
    metrics.API_WRITES.labels(verb, kind).inc()


def _count_answer(method: str, kind: str, code: int) -> None:
    metrics.API_REQUESTS.labels(method, kind, str(code)).inc()


async def run_until(stop: asyncio.Event, work: Callable[[], Awaitable[None]]) -> None:
    """Runs `work` until it ends or `stop` is set; its exception, if it ends by one."""
    working = asyncio.ensure_future(work())
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
