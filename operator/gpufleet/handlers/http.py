"""Probes, metrics and the read API, on leaders and standbys."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import msgspec
import prometheus_client
import pydantic
from aiohttp import web
from prometheus_client import exposition, registry

import gpufleet
from gpufleet import clock, repartition, runtime, settings
from gpufleet.decide.mig.repartition import reports
from gpufleet.decide.placement import whatif
from gpufleet.decide.placement.gangs import waiting
from gpufleet.decide.training import progress
from gpufleet.handlers import decisions, layouts
from gpufleet.observe import cluster
from gpufleet.observe import progress as observing
from gpufleet.report import objects
from gpufleet.state import names, snapshot


@dataclasses.dataclass
class Life:
    """What probes tell; the process sets it as it goes on."""

    read_holder: Callable[[], str] = lambda: ""
    cluster: cluster.Cluster | None = None
    """Set while this process leads."""
    runtime: runtime.Runtime | None = None
    """As the cluster."""
    is_synced: bool = False


@contextlib.asynccontextmanager
async def serving(life: Life, options: settings.Settings) -> AsyncIterator[None]:
    """Serves while the body runs. Raises OSError where the port is taken."""
    app = web.Application()
    for url_path, answer in (
        ("/healthz", _healthz),
        ("/readyz", _readyz),
        ("/snapshot", _snapshot),
        ("/progress", _progress),
        ("/queue", _queue),
        ("/mig-plan", _mig_plan),
        ("/about", _about),
    ):
        app.router.add_get(url_path, _bind(answer, life))
    app.router.add_get("/metrics", _bind(functools.partial(_metrics, options.metrics_objects), life))
    app.router.add_get("/decisions", _ask_leader(decisions.read, life))
    app.router.add_get("/what-if", _ask_leader(decisions.suppose, life))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, options.http_host, options.http_port).start()
    try:
        yield
    finally:
        await runner.cleanup()


def _bind(answer: Callable[[Life], Any], life: Life) -> Callable[[web.Request], Any]:
    async def handle(_: web.Request) -> web.Response:
        response: web.Response = await answer(life)
        return response

    return handle


def _ask_leader(
    answer: Callable[[whatif.Present, Mapping[str, str]], decisions.Answer], life: Life
) -> Callable[[web.Request], Any]:
    """Of what only the leader knows; it is computed beside the event loop, on values that nobody changes."""

    async def handle(request: web.Request) -> web.Response:
        if life.runtime is None or not life.is_synced:
            return _name_leader(life)
        taken = decisions.take(life.runtime)
        status, body = await asyncio.to_thread(answer, taken, request.query)
        return web.json_response(body, status=status)

    return handle


def _name_leader(life: Life) -> web.Response:
    holder = life.read_holder()
    message = f"ask the leader: {holder}" if holder else "no leader is known yet"
    return web.json_response({"message": message, "leader": holder}, status=503)


async def _healthz(life: Life) -> web.Response:
    """Fails where a watch has gone silent: only a new process helps then."""
    stale = life.cluster.stale() if life.cluster else []
    return web.json_response({"ok": not stale, "silentWatches": stale}, status=503 if stale else 200)


async def _readyz(life: Life) -> web.Response:
    """A standby is ready to take over; a leader is once it has seen the whole cluster."""
    is_ready = life.cluster is None or life.is_synced
    role = "standby" if life.cluster is None else "leader"
    return web.json_response({"ready": is_ready, "role": role}, status=200 if is_ready else 503)


async def _metrics(limit: int, life: Life) -> web.Response:
    """Of single objects only the leader tells; thousands of series are written beside the event loop."""
    told: list[registry.Collector] = [prometheus_client.REGISTRY]
    if life.cluster is not None and life.is_synced:
        told.append(objects.Objects(life.cluster.read_snapshot(), limit))
    body = await asyncio.to_thread(lambda: b"".join(map(exposition.generate_latest, told)))
    return web.Response(body=body, headers={"Content-Type": exposition.CONTENT_TYPE_LATEST})


async def _progress(life: Life) -> web.Response:
    """How far each training job is that tells it."""
    if life.cluster is None or not life.is_synced:
        return _name_leader(life)
    now, known = clock.SystemClock().now(), life.cluster.progress
    jobs = [
        {
            "namespace": pod.namespace,
            "name": pod.labels[names.JOB_LABEL],
            **progress.describe(known[pod.uid], now),
        }
        for pod, _ in observing.find_leaders(life.cluster)
        if pod.uid in known
    ]
    return web.json_response({"jobs": jobs})


async def _queue(life: Life) -> web.Response:
    """Gangs that wait: position, and when each may start with what that rests on."""
    if life.runtime is None or not life.is_synced:
        return _name_leader(life)
    jobs = [
        {
            "namespace": one.namespace,
            "name": one.name,
            "position": one.position,
            "reason": one.reason,
            "message": one.message,
            "etaSeconds": None if one.eta_s is None else round(one.eta_s),
            "basis": one.basis,
            "wouldEnd": list(one.would_end),
        }
        for one in waiting.describe(life.runtime.queue)
    ]
    return web.json_response({"jobs": jobs})


async def _mig_plan(life: Life) -> web.Response:
    """How GPUs are to be cut anew, planned for this request; nothing is written."""
    if life.runtime is None or not life.is_synced:
        return _name_leader(life)
    running = life.runtime
    return web.json_response(layouts.describe(await repartition.preview(running), running.clock.now()))


async def _about(life: Life) -> web.Response:
    """Who leads, and whether it sees the cluster and Prometheus."""
    running = life.runtime
    if life.cluster is None or running is None or not life.is_synced:
        return _name_leader(life)
    now_s, look = clock.SystemClock().now().timestamp(), running.look
    return web.json_response(
        {
            "version": gpufleet.__version__,
            "leader": running.settings.pod_name,
            "silentWatches": life.cluster.stale(),
            "preemption": running.settings.preemption,
            "prometheus": {
                "configured": bool(running.settings.prometheus_url),
                "ageSeconds": round(max(0.0, now_s - look.at_s), 1) if look.number else None,
                "error": look.error,
                "notes": list(look.notes),
            },
        }
    )


async def _snapshot(life: Life) -> web.Response:
    if life.cluster is None or not life.is_synced:
        return _name_leader(life)
    taken = life.cluster.read_snapshot()
    found = life.runtime.round if life.runtime else None
    body = await asyncio.to_thread(_encode_snapshot, taken, found.nodes if found else ())
    return web.Response(body=body, content_type="application/json")


def _encode_snapshot(taken: snapshot.Snapshot, repartition: tuple[reports.NodeReport, ...]) -> bytes:
    """The fleet, and beside it what becomes of the MIG layout of each managed node."""
    fields = {one.name: getattr(taken, one.name) for one in dataclasses.fields(taken)}
    return msgspec.json.encode({**fields, "repartition": repartition}, enc_hook=_encode_model)


def _encode_model(value: Any) -> Any:
    """API objects in their wire form."""
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json", by_alias=True, exclude_none=True)
    raise NotImplementedError(f"{type(value).__name__} has no JSON form")
