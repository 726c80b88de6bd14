"""Asks worker 0 of training jobs how far they are, where their spec says at which port.

The answer comes from a tenant's program: it is small, it is numbers, and nothing in it is an address.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Iterator
from typing import Annotated

import aiohttp
import pydantic
from pydantic import alias_generators

from gpufleet import clock, settings
from gpufleet.observe import cluster, pod_http
from gpufleet.state import fleet, names, progress

INTERVAL_S = 10.0
TICK_S = 1.0
LARGEST_BODY = 4096
AT_ONCE = 64
PATH = "/progress"

_Step = Annotated[int, pydantic.Field(ge=0, le=2**53)]


class _Wire(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(alias_generator=alias_generators.to_camel)


class _Checkpoint(_Wire):
    step: _Step
    time: pydantic.AwareDatetime | None = None


class _Answer(_Wire):
    step: _Step
    total_steps: _Step | None = None
    checkpoint: _Checkpoint | None = None


class ProgressPoller:
    """Keeps `Cluster.progress` current; a new checkpoint marks the job dirty."""

    def __init__(
        self, seen: cluster.Cluster, options: settings.Settings, time_source: clock.Clock | None = None
    ) -> None:
        self._cluster = seen
        self._options = options
        self._clock = time_source or clock.SystemClock()
        self._asking = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Polls until cancelled; returns at once where polling is off."""
        if not self._options.poll_agents:
            return
        async with pod_http.connect() as session:
            while True:
                await self.poll(session)
                await asyncio.sleep(TICK_S)

    async def poll(self, session: aiohttp.ClientSession) -> None:
        """One round: asks every leader that is due and forgets those that have gone."""
        leaders = {pod.uid: (pod, port) for pod, port in find_leaders(self._cluster)}
        known = self._cluster.progress
        for uid in known.keys() - leaders.keys():
            del known[uid]
        now_s = self._clock.monotonic_s()
        due = [
            one
            for uid, one in leaders.items()
            if uid not in known or now_s - known[uid].asked_s >= INTERVAL_S
        ]
        await asyncio.gather(*(self._ask(session, pod, port) for pod, port in due))

    async def _ask(self, session: aiohttp.ClientSession, pod: fleet.Pod, port: int) -> None:
        async with self._asking:
            report = await read_report(session, pod, port)
        now_s, before = self._clock.monotonic_s(), self._cluster.progress.get(pod.uid)
        known = before or progress.Progress(asked_s=now_s, moved_s=now_s)
        self._cluster.progress[pod.uid] = known.take(report, self._clock.now(), now_s)
        if before is None or _tells_more(before, report):
            self._cluster.mark_dirty((cluster.JOB, pod.namespace, pod.labels[names.JOB_LABEL]))


def find_leaders(seen: cluster.Cluster) -> Iterator[tuple[fleet.Pod, int]]:
    """Workers 0 that run, with the port of their job."""
    for kind, namespace, name in seen.keys():  # noqa: SIM118
        job = seen.read_raw(kind, namespace, name) if kind == cluster.JOB else None
        wanted = job["spec"].get("progress") if job else None
        if not wanted:
            continue
        for pod in seen.pods_of(kind, namespace, name):
            is_leader = pod.labels.get(names.COMPLETION_INDEX_ANNOTATION) == "0"
            if is_leader and pod.phase == "Running" and pod.ip and not pod.deleting:
                yield pod, int(wanted["port"])


def _tells_more(before: progress.Progress, report: progress.Report | None) -> bool:
    if report is None:
        return False
    return before.newest is None or before.newest.checkpoint_step != report.checkpoint_step


async def read_report(session: aiohttp.ClientSession, pod: fleet.Pod, port: int) -> progress.Report | None:
    """What the pod says; None where it does not answer or not as documented."""
    answer = await pod_http.ask(session, pod, f":{port}{PATH}", _Answer, LARGEST_BODY)
    if answer is None:
        return None
    made = answer.checkpoint
    at = made.time.astimezone(datetime.UTC).replace(microsecond=0) if made and made.time else None
    return progress.Report(answer.step, answer.total_steps, made.step if made else None, at)
