"""Asks the model agent in every TritonService pod which of its models are ready."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Mapping
from typing import Annotated, Any

import aiohttp
import pydantic

from gpufleet import clock, settings
from gpufleet.api import triton_service, tuning
from gpufleet.observe import cluster, pod_http
from gpufleet.state import fleet, models, names

SOON_S = 2.0
"""Interval while a pod's models are on their way."""
LATER_S = 60.0
"""Interval once everything wanted was reported."""
MEASURED_S = 10.0
"""Interval where models are measured."""
TICK_S = 0.5
LARGEST_BODY = 64 * 1024
AT_ONCE = 128

_Count = Annotated[int, pydantic.Field(ge=0, le=2**53)]


class _Batches(pydantic.BaseModel):
    size: Annotated[int, pydantic.Field(ge=1, le=65536)]
    count: _Count
    total_us: _Count


class _Measured(pydantic.BaseModel):
    window_s: _Count
    requests: _Count = 0
    failures: _Count = 0
    batches: Annotated[list[_Batches], pydantic.Field(max_length=256)] = pydantic.Field(default_factory=list)
    latency_us: dict[str, _Count] = pydantic.Field(default_factory=dict)

    def to_state(self) -> models.Measured:
        batches = tuple(models.BatchTime(one.size, one.count, one.total_us) for one in self.batches)
        latency_us = {name: self.latency_us[name] for name in tuning.QUANTILES if name in self.latency_us}
        return models.Measured(self.window_s, self.requests, self.failures, batches, latency_us)


class _Model(pydantic.BaseModel):
    name: Annotated[str, pydantic.Field(max_length=256)]
    state: triton_service.ModelState
    message: str = ""
    versions: Annotated[str, pydantic.Field(max_length=256)] = ""
    load_ms: Annotated[int | None, pydantic.Field(ge=0, le=2**31 - 1)] = None
    measured: _Measured | None = None


class _Answer(pydantic.BaseModel):
    revision: str = ""
    models: list[_Model] = pydantic.Field(default_factory=list)
    memory_used_mib: _Count | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class _Asked:
    """The pod as it was when its agent was asked last, and when that was."""

    pod: fleet.Pod
    at_s: float


class AgentPoller:
    """Keeps `Cluster.reports` current; a changed report marks the pod's service dirty."""

    def __init__(
        self, seen: cluster.Cluster, options: settings.Settings, time_source: clock.Clock | None = None
    ) -> None:
        self._cluster = seen
        self._options = options
        self._clock = time_source or clock.SystemClock()
        self._asked: dict[str, _Asked] = {}
        self._read: dict[tuple[str, str], tuple[str, str | None]] = {}
        self._asking = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Polls until cancelled; returns at once where polling is off."""
        if not self._options.poll_agents:
            return
        async with pod_http.connect() as session:
            while True:
                due = self._due(self._clock.monotonic_s())
                await asyncio.gather(*(self._ask(session, service, pod) for service, pod in due))
                await asyncio.sleep(TICK_S)

    def _due(self, now_s: float) -> list[tuple[str, fleet.Pod]]:
        """The pods to ask now; what is known of pods that have gone is forgotten."""
        running = {
            pod.uid: (service, pod)
            for service, pod in self._cluster.service_pods()
            if pod.phase == "Running" and pod.ip and not pod.deleting
        }
        for uid in [uid for uid in self._asked if uid not in running]:
            del self._asked[uid]
        for uid in [uid for uid in self._cluster.reports if uid not in running]:
            del self._cluster.reports[uid]
        if len(self._read) > len(running):
            self._read.clear()
        return [(service, pod) for service, pod in running.values() if self._is_due(service, pod, now_s)]

    def _is_due(self, service: str, pod: fleet.Pod, now_s: float) -> bool:
        last = self._asked.get(pod.uid)
        later_s = MEASURED_S if self._is_measured(pod) else LATER_S
        if last is None or now_s - last.at_s >= later_s:
            return True
        if now_s - last.at_s < SOON_S:
            return False
        has_changed = last.pod is not pod and last.pod != pod
        return has_changed or not self._is_settled(service, pod)

    def _is_measured(self, pod: fleet.Pod) -> bool:
        report = self._cluster.reports.get(pod.uid)
        return report is not None and any(one.measured for one in report.models)

    def _is_settled(self, service: str, pod: fleet.Pod) -> bool:
        """Whether the pod is ready and has answered to the list that is wanted now."""
        report = self._cluster.reports.get(pod.uid)
        return pod.ready and report is not None and report.revision == self._wanted(pod.namespace, service)

    def _wanted(self, namespace: str, service: str) -> str | None:
        """The revision in the service's ConfigMap."""
        found = self._cluster.read_raw("ConfigMap", namespace, names.wanted_models_name(service))
        if found is None:
            self._read.pop((namespace, service), None)
            return None
        version = found["metadata"]["resourceVersion"]
        known = self._read.get((namespace, service))
        # Every settled pod is looked at in every round: decoding its list each time would hold up the loop.
        if known is None or known[0] != version:
            known = self._read[namespace, service] = version, _revision_in(found)
        return known[1]

    async def _ask(self, session: aiohttp.ClientSession, service: str, pod: fleet.Pod) -> None:
        async with self._asking:
            report = await read_report(session, pod)
        if report is not None and report != self._cluster.reports.get(pod.uid):
            self._cluster.reports[pod.uid] = report
            self._cluster.mark_dirty((cluster.SERVICE, pod.namespace, service))
        self._asked[pod.uid] = _Asked(pod, self._clock.monotonic_s())


def _revision_in(config_map: Mapping[str, Any]) -> str | None:
    try:
        return str(json.loads(config_map["data"][names.WANTED_MODELS_KEY])["revision"])
    except (KeyError, TypeError, ValueError):
        return None


async def read_report(session: aiohttp.ClientSession, pod: fleet.Pod) -> models.AgentReport | None:
    """What the pod's agent says; None where it does not answer or not in its own language."""
    answer = await pod_http.ask(session, pod, f":{names.AGENT_PORT}/models", _Answer, LARGEST_BODY)
    if answer is None:
        return None
    reported = (
        models.ModelReport(
            one.name,
            one.state,
            one.message[:1024],
            one.versions,
            one.load_ms,
            one.measured.to_state() if one.measured else None,
        )
        for one in answer.models
    )
    return models.AgentReport(answer.revision, tuple(reported), answer.memory_used_mib)
