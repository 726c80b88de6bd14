"""The fleet cycle as a process of its own: informers, kopf's watch, decisions and their writes, no children.

As Kueue's performance runner has a controller of Workloads without the jobs that they stand for.
"""

from __future__ import annotations

import asyncio

from gpufleet import clock, cycle, kube, runtime, settings, worker, workqueue
from gpufleet.handlers import operator, watch
from gpufleet.observe import cluster
from gpufleet.report import logs
from gpufleet.sim import searches

READY = "the cycle is ready"


async def _run(options: settings.Settings) -> None:
    async with kube.connect(options) as client, asyncio.TaskGroup() as tasks:
        seen = cluster.Cluster(client, options)
        wanted = workqueue.Alarm(operator.CYCLE_PAUSE_S, operator.CYCLE_GATHER_S)
        life = runtime.Runtime(
            client,
            seen,
            options,
            clock.SystemClock(),
            worker.Worker(searches.COMMAND),
            wake_cycle=wanted.ring,
        )
        seen.on_dirty = lambda _: wanted.ring()
        seen.on_fleet_change = wanted.ring
        seen.start(tasks)
        await seen.wait_synced()
        tasks.create_task(watch.run(options, seen.note_event))
        print(READY, flush=True)
        while True:
            await wanted.wait()
            await cycle.run_once(life)


if __name__ == "__main__":
    chosen = settings.Settings()
    logs.configure(chosen.log_level)
    asyncio.run(_run(chosen))
