"""15,000 gangs in Kueue's baseline shape through a real API server. `make bench-admission`.

A status write admits a gang; there are no children. Whoever creates the gangs ends them too once they have
run, as Kueue's performance runner does with its Workloads. Decisions, informers and writes are the operator's
own. `BENCH_GANGS=1500` runs a tenth on a tenth of the fleet; arrivals take a minute there too.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import psutil

from gpufleet import kube
from gpufleet.api import meta
from gpufleet_sandbox import processes
from tests import access, builders_api
from tests.bench import audit, crowd, cycle_alone, operator, report, training_shape

GANGS = int(os.environ.get("BENCH_GANGS", "15000"))
QUEUES = GANGS // sum(shape.count for shape in training_shape.CLASSES)
DEVICES = training_shape.DEVICES * QUEUES // training_shape.QUEUES
NAMESPACE = "bench"
LIMIT_S = float(os.environ.get("BENCH_LIMIT_S", "540"))
GOAL_S = 400.0
KUEUE_S, KUEUE_LARGE_S = 522.7, 63.0
"""Kueue's own runner on two cores, its client's limits off: all through, and the mean wait of class large."""


@dataclasses.dataclass
class Runner:
    """Creates gangs as they come, and ends each when it has run."""

    client: kube.Client
    created_s: dict[str, float] = dataclasses.field(default_factory=dict)
    admitted_s: dict[str, float] = dataclasses.field(default_factory=dict)
    finished_s: dict[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self._shapes = {one.name: one.shape for one in self.arrivals}
        self._ending: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(crowd.AT_A_TIME)
        self._done = asyncio.Event()

    @property
    def arrivals(self) -> list[training_shape.Arrival]:
        return training_shape.list_arrivals(QUEUES)

    async def run(self) -> float:
        """Seconds from the first creation until all have ended, or until the limit."""
        path = kube.path(meta.API_VERSION, "TrainingJob", NAMESPACE)
        began_s = time.monotonic()
        following = asyncio.create_task(crowd.follow(self.client, path, self._note))
        try:
            async with asyncio.timeout(LIMIT_S):
                await crowd.do_all(self.arrivals, lambda one: self._create(one, began_s))
                await self._done.wait()
        except TimeoutError:
            print(f"stopped after {LIMIT_S} s", flush=True)
        finally:
            for task in (following, *self._ending):
                task.cancel()
            await asyncio.gather(following, *self._ending, return_exceptions=True)
        return max(self.finished_s.values(), default=began_s) - began_s

    async def _create(self, one: training_shape.Arrival, began_s: float) -> None:
        await asyncio.sleep(max(0.0, began_s + one.at_s - time.monotonic()))
        path = kube.path(meta.API_VERSION, "TrainingJob", NAMESPACE)
        body = builders_api.make_training_job(
            one.name, NAMESPACE, framework="Plain", **training_shape.build_spec(one.shape)
        )
        await self.client.create(path, body)
        self.created_s[one.name] = time.monotonic()

    def _note(self, raw: dict[str, Any]) -> None:
        name = raw["metadata"]["name"]
        given = (raw.get("status") or {}).get("assignment") or {}
        if given.get("workers") and name not in self.admitted_s:
            self.admitted_s[name] = time.monotonic()
            task = asyncio.create_task(self._end(name))
            self._ending.add(task)
            task.add_done_callback(self._note_end)

    async def _end(self, name: str) -> None:
        await asyncio.sleep(self._shapes[name].runs_s)
        at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        ended = {"type": "Succeeded", "status": "True", "reason": "Completed", "lastTransitionTime": at}
        path = kube.path(meta.API_VERSION, "TrainingJob", NAMESPACE, name, "status")
        async with self._turns:
            await self.client.merge_patch(path, {"status": {"conditions": [ended]}}, manager="runner")
        self.finished_s[name] = time.monotonic()
        if len(self.finished_s) == len(self._shapes):
            self._done.set()

    def _note_end(self, task: asyncio.Task[None]) -> None:
        self._ending.discard(task)
        if not task.cancelled() and (error := task.exception()):
            print(f"a gang was not ended: {error}", flush=True)

    def read_waits(self) -> dict[str, list[float]]:
        """Seconds from creation until admission by class; one that was never admitted waits until the end."""
        end_s, found = time.monotonic(), defaultdict[str, list[float]](list)
        for name, created_s in self.created_s.items():
            waited_s = self.admitted_s.get(name, end_s) - created_s
            found[self._shapes[name].name].append(max(0.0, waited_s))
        return found


@contextlib.contextmanager
def running_cycle(bench: operator.Bench) -> Iterator[psutil.Process]:
    """The cycle's process while the body runs, ready."""
    env = {**os.environ, "KUBECONFIG": str(bench.kubeconfig), "GPUFLEET_WRITE_RATE_PER_S": "1000"}
    log = bench.folder / "cycle.log"
    with log.open("wb") as file:
        argv = [sys.executable, "-m", cycle_alone.__name__]
        started = subprocess.Popen(argv, env=env, stdout=file, stderr=file)
        try:
            operator.wait_for("the cycle", lambda: cycle_alone.READY in log.read_text(), 120, 0.2)
            yield psutil.Process(started.pid)
        finally:
            started.terminate()
            started.wait()
            print("\n".join(log.read_text().splitlines()[-5:]), flush=True)


def read_cpu_s(process: psutil.Process) -> float:
    """CPU time that a process has used, in seconds."""
    times = process.cpu_times()
    return float(times.user + times.system)


def _find_server(directory: pathlib.Path) -> psutil.Process:
    found = processes.load("kube-apiserver", directory)
    if found is None:
        raise RuntimeError("the API server does not run")
    return psutil.Process(found.pid)


def _prepare(bench: operator.Bench) -> None:
    bench.client.run("create", "namespace", NAMESPACE)
    classes = [
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": shape.name},
            "value": shape.priority,
        }
        for shape in training_shape.CLASSES
    ]
    listed = {"apiVersion": "v1", "kind": "List", "items": classes}
    bench.client.run("apply", "--server-side", "-f", "-", stdin=json.dumps(listed))


async def _run(kubeconfig: pathlib.Path) -> tuple[float, Runner]:
    async with crowd.connect(kubeconfig) as client:
        runner = Runner(client)
        return await runner.run(), runner


def _build_rows(took_s: float, runner: Runner, writes: list[audit.Write]) -> list[report.Row]:
    waits, total = runner.read_waits(), len(runner.arrivals)
    made_s = max(runner.created_s.values()) - min(runner.created_s.values())
    own = Counter(one.name for one in writes if one.user == access.USER)
    is_whole = GANGS >= 15_000
    judged = (GOAL_S, KUEUE_S) if is_whole else (None, None)
    rows = [
        report.Row("all through, creation included", took_s, "s", *judged),
        report.Row("not through", total - len(runner.finished_s), "gangs", goal=0.0),
        report.Row("creation alone", made_s, "s"),
        report.Row("gangs per second", len(runner.finished_s) / took_s, "1/s"),
        report.Row("status writes of the cycle per gang, mean", sum(own.values()) / total, "writes"),
        report.Row("status writes of the cycle per gang, worst", max(own.values()), "writes"),
    ]
    for shape in training_shape.CLASSES:
        found = waits[shape.name]
        judged = (50.0, KUEUE_LARGE_S) if is_whole and shape.name == "large" else (None, None)
        rows += [
            report.Row(f"mean wait of class {shape.name}", sum(found) / len(found), "s", *judged),
            report.Row(f"longest wait of class {shape.name}", max(found), "s"),
        ]
    return rows


def main() -> None:
    with operator.control_plane(-(-DEVICES // 8)) as bench:
        _prepare(bench)
        with running_cycle(bench) as process:
            seen = {
                "API server": _find_server(bench.client.kubeconfig.parent),
                "cycle": process,
                "runner": psutil.Process(),
            }
            before_s = {name: read_cpu_s(one) for name, one in seen.items()}
            bench.log.skip()
            took_s, runner = asyncio.run(_run(bench.client.kubeconfig))
            used_s = {name: read_cpu_s(one) - before_s[name] for name, one in seen.items()}
            rss_mib = process.memory_info().rss / 2**20
        rows = _build_rows(took_s, runner, bench.log.read())
    rows += [
        report.Row(f"CPU of the {name} per gang", 1000 * spent_s / GANGS, "ms", baseline=47.0)
        if name == "API server"
        else report.Row(f"CPU of the {name} per gang", 1000 * spent_s / GANGS, "ms")
        for name, spent_s in used_s.items()
    ]
    rows.append(report.Row("memory of the cycle", rss_mib, "MiB RSS"))
    report.finish(f"{GANGS} gangs, {DEVICES} devices, a real API server; baseline: Kueue's own runner", rows)


if __name__ == "__main__":
    main()
