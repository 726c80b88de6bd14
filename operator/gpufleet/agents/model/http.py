"""What the agent answers: the kubelet's probes, the hook before Triton's end, and the operator's question.

The kubelet probes once a second at most, and a probe that is under way counts as neither failed nor passed.
So a readiness probe that says `?wait=SECONDS` is answered as soon as traffic may come.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from gpufleet.agents.model import keeper, server

WAIT_LIMIT_S = 30.0
_STOP_S = 2.0
"""How long an answer that is waited for may hold up the end of the process."""

Drain = Callable[[], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(kept: keeper.Keeper, drain: Drain) -> AsyncIterator[None]:
    """Serves /healthz, /livez, /readyz, /models and /prestop while the body runs."""
    answers = Answers(kept, drain)
    app = web.Application()
    app.router.add_get("/healthz", answers.healthz)
    app.router.add_get("/livez", answers.livez)
    app.router.add_get("/readyz", answers.readyz)
    app.router.add_get("/models", answers.models)
    app.router.add_get("/prestop", answers.prestop)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_S)
    await runner.setup()
    await web.TCPSite(runner, kept.settings.host, kept.settings.port).start()
    try:
        yield
    finally:
        await runner.cleanup()


@dataclasses.dataclass
class Answers:
    """One method a path."""

    kept: keeper.Keeper
    drain: Drain
    is_known_closed: bool = True
    """Whether who asks and would wait knows that no traffic may come."""
    down_since_s: float | None = None
    """Since when nobody listens where Triton should."""

    async def healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def livez(self, _: web.Request) -> web.Response:
        """Whether Triton is to be left alone: it answers, or it may still be starting.

        One whose process ends is the kubelet's to notice; one that listens and does not answer hangs.
        """
        try:
            await self.kept.server.loaded()
        except server.ServerDownError:
            now_s = self.kept.clock.monotonic_s()
            self.down_since_s = now_s if self.down_since_s is None else self.down_since_s
            is_alive = now_s - self.down_since_s < self.kept.settings.start_limit_s
        except server.NoAnswerError:
            is_alive = False
        else:
            is_alive, self.down_since_s = True, None
        return web.json_response({"live": is_alive}, status=200 if is_alive else 503)

    async def readyz(self, request: web.Request) -> web.Response:
        """Whether traffic may come. That it may no longer is never waited with."""
        wait_s = _read_wait_s(request)
        if wait_s and self.is_known_closed:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.kept.opened.wait(), wait_s)
        is_open = self.kept.is_ready and not self.kept.is_draining
        if wait_s:
            self.is_known_closed = not is_open
        told = {"ready": is_open, "draining": self.kept.is_draining}
        return web.json_response(told, status=200 if is_open else 503)

    async def models(self, _: web.Request) -> web.Response:
        return web.json_response(dataclasses.asdict(self.kept.report()))

    async def prestop(self, _: web.Request) -> web.Response:
        """Answers when clients have turned to other pods; only then is Triton told to stop."""
        self.kept.is_draining = True
        await self.drain()
        return web.json_response({"drained": True})


def _read_wait_s(request: web.Request) -> float:
    """Seconds that the asker would wait; 0 where it says nothing, or nothing usable."""
    with contextlib.suppress(ValueError):
        return min(WAIT_LIMIT_S, max(0.0, float(request.query.get("wait", "0"))))
    return 0.0
