"""What one pass of the autoscaler costs, from the answers of a Prometheus to assignments."""

from __future__ import annotations

import asyncio
import datetime
import json
import multiprocessing
import multiprocessing.connection
import time
import urllib.parse

import aiohttp
from aiohttp import web

from gpufleet import settings
from gpufleet.decide.autoscaling import memories
from gpufleet.decide.placement import assign
from gpufleet.observe import prometheus
from gpufleet.state import fleet, samples, snapshot
from tests import builders
from tests.bench import report

SERVICES = 1000
PODS_EACH = 10
FEW_SERVICES = 10
GOAL_S = 2.0
_NOW = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)


def _name_pod(service: int, number: int) -> str:
    return f"s{service:04}-7c9d8b6f5-{number:05}"


def _answer(services: int, number: float) -> bytes:
    """One instant vector with a series per pod."""
    labels = (
        {"namespace": "bench", "pod": _name_pod(s, p)} for s in range(services) for p in range(PODS_EACH)
    )
    result = [{"metric": one, "value": [1767571200.123, f"{number:.15g}"]} for one in labels]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()


def _serve(services: int, pipe: multiprocessing.connection.Connection) -> None:
    """Answers every query with one figure per pod; tells its port, and at the end how often it was asked."""
    body = _answer(services, 3.14159265358979)

    async def query(request: web.Request) -> web.Response:
        fields = urllib.parse.parse_qs(await request.text())
        asked.append(fields["query"][0])
        return web.Response(body=body, content_type="application/json")

    async def main() -> None:
        app = web.Application()
        app.router.add_post("/api/v1/query", query)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        pipe.send(runner.addresses[0][1])
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        pipe.send(len(asked))
        await runner.cleanup()

    asked: list[str] = []
    asyncio.run(main())


def _build_view(services: int) -> snapshot.Snapshot:
    objects = []
    pods: list[fleet.Pod] = []
    for service in range(services):
        name = f"s{service:04}"
        targets = [{"signal": "QueueWait", "value": 50}, {"signal": "RequestRate", "value": 3}]
        objects.append(
            builders.make_service(
                name,
                "bench",
                autoscaling={"maxReplicas": 20, "targets": targets},
                status={"assignment": {"replicas": PODS_EACH}},
            )
        )
        pods += (
            builders.make_service_pod(
                _name_pod(service, number), name, namespace="bench", phase="Running", ready=True, node="n0"
            )
            for number in range(PODS_EACH)
        )
    return builders.make_snapshot(pods=pods, services=objects)


async def _sample(port: int) -> samples.Look:
    options = settings.Settings(prometheus_url=f"http://127.0.0.1:{port}")
    sampler = prometheus.Sampler(options, lambda _: None)
    async with aiohttp.ClientSession() as session:
        await sampler.step(session)
    return sampler.look


def _measure_pass(services: int) -> tuple[float, int, int]:
    """CPU seconds of this process for one pass, queries, and decisions."""
    view = _build_view(services)
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=_serve, args=(services, there))
    server.start()
    port = here.recv()
    began_s = time.process_time()
    look = asyncio.run(_sample(port))
    scalings, _ = memories.scale_all(view, look, {}, _NOW)
    assign.assign(view, scalings, _NOW)
    took_s = time.process_time() - began_s
    here.send("end")
    queries = here.recv()
    server.join()
    if len(look.pods) != services * PODS_EACH or look.error:
        raise RuntimeError(f"{len(look.pods)} pods were sampled: {look.error}")
    return took_s, queries, len(scalings)


def measure() -> list[report.Row]:
    """The rows of the cost."""
    _, few, _ = _measure_pass(FEW_SERVICES)
    took_s, many, decided = _measure_pass(SERVICES)
    if decided != SERVICES:
        raise RuntimeError(f"{decided} of {SERVICES} services were decided")
    return [
        report.Row(f"one pass, {SERVICES} services, {SERVICES * PODS_EACH} pods", took_s, "s CPU", GOAL_S),
        report.Row(f"queries for {SERVICES} services", many, "queries", few, baseline=few),
    ]


if __name__ == "__main__":
    report.finish("The cost of one pass of the autoscaler", measure())
