"""The port of what stands on a node: /metrics for Prometheus, /healthz and /readyz for the kubelet."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry, exposition, registry

TEXT = "text/plain; version=0.0.4; charset=utf-8"


def build_app(collector: registry.Collector, why_not_ready: Callable[[], str | None]) -> web.Application:
    """The application; `why_not_ready` gives a sentence, or None when all is well."""
    metrics = CollectorRegistry()
    metrics.register(collector)

    async def serve_metrics(request: web.Request) -> web.Response:
        return web.Response(body=exposition.generate_latest(metrics), headers={"Content-Type": TEXT})

    async def serve_health(request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def serve_ready(request: web.Request) -> web.Response:
        reason = why_not_ready()
        return web.Response(text=f"{reason or 'ok'}\n", status=503 if reason else 200)

    app = web.Application()
    app.router.add_get("/metrics", serve_metrics)
    app.router.add_get("/healthz", serve_health)
    app.router.add_get("/readyz", serve_ready)
    return app


async def serve(app: web.Application, host: str, port: int) -> web.AppRunner:
    """A running server; its owner calls `cleanup`. Raises OSError if the port is taken."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
