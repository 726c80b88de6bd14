"""What one pass of the autoscaler costs, from the answers of a Prometheus to assignments."""

from __future__ import annotations

import asyncio
import datetime
import json
import math
import multiprocessing
import multiprocessing.connection
import time
import urllib.parse

from aiohttp import web

from gpufleet import settings
from gpufleet.decide.autoscaling import memories
from gpufleet.decide.placement import assign
from gpufleet.observe import prometheus, queries
from gpufleet.state import fleet, samples, snapshot
from tests import builders
from tests.bench import report

SERVICES = 1000
PODS_EACH = 10
FEW_SERVICES = 10
GOAL_S = 2.0
DCGM_NAMESPACE = "gpu-operator"
LLM_ONLY = ("kv_cache", "ttft_s", "itl_s", "llm_waiting", "llm_running")
_NOW = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)


def _name_pod(service: int, number: int) -> str:
    return f"s{service:04}-7c9d8b6f5-{number:05}"


def _answer(services: int, name: queries.Name, subject: queries.Subject) -> bytes:
    """One instant vector with a series for each pod, or each service; a tenth of them serve an LLM."""
    if name in LLM_ONLY:
        services //= 10
    if subject == "service":
        labels = [{"namespace": "bench", "tritonservice": f"s{s:04}"} for s in range(services)]
    else:
        labels = [_label(_name_pod(s, p), subject) for s in range(services) for p in range(PODS_EACH)]
    result = [{"metric": one, "value": [1767571200.123, f"{math.pi:.15g}"]} for one in labels]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()


def _label(pod: str, subject: queries.Subject) -> dict[str, str]:
    if subject == "gpu":
        holder = {"exported_namespace": "bench", "exported_pod": pod}
        return {"namespace": DCGM_NAMESPACE, "pod": "nvidia-dcgm-exporter-x2x7f", **holder}
    own = {"namespace": "bench", "pod": pod}
    return {**own, "model": "double"} if subject == "model" else own


def _serve(services: int, pipe: multiprocessing.connection.Connection) -> None:
    """Answers every query with a figure per subject; tells its port, and at last how often it was asked."""
    bodies = {one.text: _answer(services, name, one.subject) for name, one in queries.build("1m").items()}

    async def query(request: web.Request) -> web.Response:
        fields = urllib.parse.parse_qs(await request.text())
        asked.append(fields["query"][0])
        return web.Response(body=bodies[asked[-1]], content_type="application/json")

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
                objective={"latency": {"targetMilliseconds": 500}},
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
    options = settings.Settings(
        prometheus_url=f"http://127.0.0.1:{port}", prometheus_dcgm_namespace=DCGM_NAMESPACE
    )
    sampler = prometheus.Sampler(options, lambda _: None)
    await sampler.step()
    return sampler.look


def _measure_pass(services: int) -> tuple[float, float, int]:
    """CPU seconds of this process for sampling and for deciding, and queries."""
    view = _build_view(services)
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=_serve, args=(services, there))
    server.start()
    port = here.recv()
    began_s = time.process_time()
    look = asyncio.run(_sample(port))
    sampled_s = time.process_time() - began_s
    found = memories.scale_all(view, look, {}, _NOW)
    assign.assign(view, found.scalings, _NOW)
    decided_s = time.process_time() - began_s - sampled_s
    here.send("end")
    asked = here.recv()
    server.join()
    if len(look.pods) != services * PODS_EACH or look.error:
        raise RuntimeError(f"{len(look.pods)} pods were sampled: {look.error}")
    if len(found.scalings) != services:
        raise RuntimeError(f"{len(found.scalings)} of {services} services were decided")
    return sampled_s, decided_s, asked


def measure() -> list[report.Row]:
    """The rows of the cost."""
    _, _, few = _measure_pass(FEW_SERVICES)
    sampled_s, decided_s, many = _measure_pass(SERVICES)
    passed = f"one pass, {SERVICES} services, {SERVICES * PODS_EACH} pods"
    return [
        report.Row(passed, sampled_s + decided_s, "s CPU", GOAL_S),
        report.Row("of it queries, parsing and joining", sampled_s, "s CPU"),
        report.Row("of it classifying and deciding", decided_s, "s CPU"),
        report.Row(f"queries for {SERVICES} services", many, "queries", few, baseline=few),
    ]


if __name__ == "__main__":
    report.finish("The cost of one pass of the autoscaler", measure())
