"""A proxy between the operator and the API server: it keeps a journal of writes and can act around one.

The operator speaks plain HTTP to it on loopback; the proxy speaks TLS to the API server with the
operator's own bearer token, so that RBAC stays what the chart grants.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import pathlib
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping

import aiohttp
import yaml
from aiohttp import web

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
UNCOUNTED = ("/leases", "/events")
HOP_BY_HOP = frozenset({"connection", "transfer-encoding", "content-length", "content-encoding", "host"})


@dataclasses.dataclass(frozen=True)
class Write:
    """One write that the operator sent, and the API server's answer; status 0 where none was asked for."""

    number: int
    method: str
    path: str
    status: int


@dataclasses.dataclass
class Proxy:
    """Runs in a thread of its own; `url` is where it listens."""

    server: str
    ca_file: pathlib.Path
    token: str
    before: Callable[[int], bool] = lambda number: True
    """Called before write `number` (from 1) is forwarded; False drops the connection instead."""
    after: Callable[[int], bool] = lambda number: True
    """Called when write `number` has taken effect; False drops the connection instead of answering."""
    journal: list[Write] = dataclasses.field(default_factory=list)
    url: str = ""

    async def _forward(self, session: aiohttp.ClientSession, request: web.Request) -> web.StreamResponse:
        number = 0
        if request.method in WRITES and not any(part in request.path for part in UNCOUNTED):
            number = len(self.journal) + 1
            self.journal.append(Write(number, request.method, request.path, 0))
            if not self.before(number):
                raise ConnectionResetError
        headers = _pass_on(request.headers)
        headers["Authorization"] = f"Bearer {self.token}"
        body = await request.read()
        async with session.request(
            request.method, self.server + request.path_qs, headers=headers, data=body or None
        ) as upstream:
            if number:
                self.journal[number - 1] = Write(number, request.method, request.path, upstream.status)
                # The write has taken effect once its answer is here.
                answer = await upstream.read()
                if not self.after(number):
                    raise ConnectionResetError
                return web.Response(status=upstream.status, body=answer, headers=_pass_on(upstream.headers))
            return await _stream(request, upstream)

    async def _serve(self, ready: threading.Event, stop: asyncio.Event) -> None:
        tls = ssl.create_default_context(cafile=str(self.ca_file))
        connector = aiohttp.TCPConnector(ssl=tls, limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, auto_decompress=True
        ) as session:
            app = web.Application(client_max_size=16 * 2**20)
            app.router.add_route("*", "/{tail:.*}", functools.partial(self._forward, session))
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            ready.set()
            await stop.wait()
            await runner.cleanup()

    @contextlib.contextmanager
    def running(self) -> Iterator[Proxy]:
        """Serves while the body runs."""
        loop = asyncio.new_event_loop()
        ready, stop = threading.Event(), asyncio.Event()
        thread = threading.Thread(
            target=lambda: loop.run_until_complete(self._serve(ready, stop)), daemon=True
        )
        thread.start()
        if not ready.wait(10):
            raise TimeoutError("the proxy did not start")
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(10)
            loop.close()

    def write_kubeconfig(self, path: pathlib.Path) -> pathlib.Path:
        """A kubeconfig whose server is the proxy; the proxy adds the credentials."""
        context = {"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxy", "cluster": {"server": self.url}}],
            "users": [{"name": "proxy", "user": {"token": "added-by-the-proxy"}}],
            "contexts": [context],
            "current-context": "proxy",
        }
        path.write_text(yaml.safe_dump(config))
        return path


def _pass_on(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in HOP_BY_HOP}


async def _stream(request: web.Request, upstream: aiohttp.ClientResponse) -> web.StreamResponse:
    response = web.StreamResponse(status=upstream.status, headers=_pass_on(upstream.headers))
    await response.prepare(request)
    with contextlib.suppress(ConnectionError, aiohttp.ClientError):
        async for chunk in upstream.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
    return response
