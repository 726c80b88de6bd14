"""The sampler against a server in trouble: it says which, repeats no samples, and recovers by itself."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from gpufleet import settings
from gpufleet.observe import prometheus, queries
from gpufleet.state import samples
from tests.integration.prometheus import servers

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
TIMEOUT_S = 1.0
WANTED = queries.build(f"{servers.WINDOW_S}s")
LABELS = {"namespace": "team-a", "pod": "a", "model": "m", "tritonservice": "vision"}


def build_body(value: str = "1", **fields: Any) -> dict[str, Any]:
    result = [{"metric": LABELS, "value": [1.0, value]}]
    return {"status": "success", "data": {"resultType": "vector", "result": result}, **fields}


async def _well(request: web.Request) -> web.StreamResponse:
    return web.json_response(build_body())


class Server:
    """A real server on one port that answers as it is told; `seen` are the forms of all requests."""

    def __init__(self) -> None:
        self.answer: Answer = _well
        self.seen: list[dict[str, str]] = []
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._app, self._port = app, servers.find_port()
        self._runner = web.AppRunner(app)
        self.url = f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        # Requests that hang shall not hold up the end of a test.
        self._runner = web.AppRunner(self._app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        self.seen.append({**{name: str(value) for name, value in form.items()}, "path": request.path})
        return await self.answer(request)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found = Server()
    await found.start()
    try:
        yield found
    finally:
        await found.stop()


async def _never(request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def _drips(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(TIMEOUT_S / 10)


async def _unavailable(request: web.Request) -> web.StreamResponse:
    return web.Response(status=503, text="no healthy upstream")


async def _overloaded(request: web.Request) -> web.StreamResponse:
    error = {
        "status": "error",
        "errorType": "execution",
        "error": "query processing would load too many samples",
    }
    return web.json_response(error, status=422)


async def _login(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/login")


async def _moved(request: web.Request) -> web.StreamResponse:
    raise web.HTTPPermanentRedirect("http://127.0.0.1:1/api/v1/query")


async def _refused(request: web.Request) -> web.StreamResponse:
    return web.Response(status=401, text="Unauthorized\n")


async def _huge(request: web.Request) -> web.StreamResponse:
    return web.Response(body=b" " * 20_000)


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 4096)


async def _bomb(request: web.Request) -> web.StreamResponse:
    packed = gzip.compress(b" " * 2**20)
    return web.Response(body=packed, headers={"Content-Encoding": "gzip"})


async def _badly_packed(request: web.Request) -> web.StreamResponse:
    return web.Response(body=b"no gzip at all", headers={"Content-Encoding": "gzip"})


async def _cut_off(request: web.Request) -> web.StreamResponse:
    body = json.dumps(build_body()).encode()
    response = web.StreamResponse(headers={"Content-Length": str(len(body))})
    await response.prepare(request)
    await response.write(body[:20])
    assert request.transport
    request.transport.close()
    return response


async def _half(request: web.Request) -> web.StreamResponse:
    return web.Response(text=json.dumps(build_body())[:-9])


async def _page(request: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>Welcome</html>", content_type="text/html")


async def _matrix(request: web.Request) -> web.StreamResponse:
    return web.json_response({"status": "success", "data": {"resultType": "matrix", "result": []}})


async def _empty(request: web.Request) -> web.StreamResponse:
    return web.Response()


async def _deep(request: web.Request) -> web.StreamResponse:
    return web.Response(text='{"data":' + "[" * 9000)


async def _partial(request: web.Request) -> web.StreamResponse:
    return web.json_response(build_body(warnings=["No StoreAPIs matched for this query"]))


TROUBLE = [
    pytest.param(_never, "did not answer in time", id="never answers"),
    pytest.param(_drips, "did not answer in time", id="answers a byte at a time"),
    pytest.param(_unavailable, "answered 503: no healthy upstream", id="unavailable"),
    pytest.param(_overloaded, "answered 422: query processing would load too many samples", id="overloaded"),
    pytest.param(_refused, "answered 401: Unauthorized", id="no rights"),
    pytest.param(_login, "answered 302", id="redirects to a login"),
    pytest.param(_moved, "answered 308", id="redirects to another host"),
    pytest.param(_huge, "longer than 16384 bytes", id="a huge body"),
    pytest.param(_endless, "longer than 16384 bytes", id="a body without end"),
    pytest.param(_bomb, "longer than 16384 bytes", id="a body that unpacks to a huge one"),
    pytest.param(_badly_packed, "cannot be asked", id="a body that does not unpack"),
    pytest.param(_cut_off, "cannot be asked", id="a connection that breaks"),
    pytest.param(_half, "not Prometheus's", id="half a body"),
    pytest.param(_page, "not Prometheus's", id="a web page"),
    pytest.param(_empty, "not Prometheus's", id="nothing"),
    pytest.param(_deep, "not Prometheus's", id="nested without end"),
    pytest.param(_matrix, "the answer is a matrix", id="a wrong type"),
    pytest.param(_partial, "partial: No StoreAPIs matched", id="a part"),
]


@pytest.fixture(autouse=True)
def _small_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "LARGEST_ANSWER", 16_384)


def build_sampler(server: Server, **options: Any) -> prometheus.Sampler:
    return servers.build_sampler(server.url, prometheus_timeout_s=TIMEOUT_S, **options)


async def step(sampler: prometheus.Sampler) -> samples.Look:
    async with asyncio.timeout(2 * TIMEOUT_S + 2):
        await sampler.step()
    return sampler.look


@pytest.mark.parametrize(("answer", "said"), TROUBLE)
async def test_trouble_is_named_and_passes(server: Server, answer: Answer, said: str) -> None:
    sampler = build_sampler(server)
    before = await step(sampler)
    server.answer = answer
    during = await step(sampler)
    server.answer = _well
    after = await step(sampler)
    assert said in during.error
    assert (during.pods, during.waiting, during.number) == ({}, {}, before.number + 1)
    assert (after.error, after.pods, after.notes) == ("", before.pods, ())
    assert before.pods


async def test_a_server_that_is_down_is_named_and_comes_back(server: Server) -> None:
    sampler = build_sampler(server)
    await server.stop()
    down = await step(sampler)
    await server.start()
    up = await step(sampler)
    assert ("cannot be asked" in down.error, down.pods) == (True, {})
    assert (up.error, len(up.pods)) == ("", 1)


def only(wanted: set[str], answer: Answer) -> Answer:
    """Answers so to these queries, well to the others."""
    texts = {WANTED[name].text for name in wanted}  # type: ignore[index]

    async def chosen(request: web.Request) -> web.StreamResponse:
        form = await request.post()
        return await (answer if form["query"] in texts else _well)(request)

    return chosen


OPTIONAL = {name for name, query in WANTED.items() if not query.required}
DEVICES = {name for name, query in WANTED.items() if query.subject == "gpu"}


@pytest.mark.parametrize(("answer", "said"), TROUBLE)
@pytest.mark.parametrize(
    "lacking",
    [
        pytest.param(DEVICES, id="DCGM"),
        pytest.param({"waiting"}, id="the gateway"),
        pytest.param(OPTIONAL, id="all that is optional"),
    ],
)
async def test_what_is_optional_takes_nothing_else_away(
    server: Server, answer: Answer, said: str, lacking: set[str]
) -> None:
    server.answer = only(lacking, answer)
    look = await step(build_sampler(server))
    sample = look.pods["team-a", "a"]
    gone = {name for name in WANTED if name != "waiting" and getattr(sample, name) in (None, {})}
    assert gone == lacking - {"waiting"}
    assert bool(look.waiting) is ("waiting" not in lacking)
    assert (look.error, len(look.notes)) == ("", 1)
    assert said in look.notes[0]
    assert all(name in look.notes[0] for name in lacking)


@pytest.mark.parametrize("name", sorted(set(WANTED) - OPTIONAL))
async def test_what_is_required_takes_all_away(server: Server, name: str) -> None:
    """A part would pass for the whole: pending requests unknown, an idle service."""
    server.answer = only({name}, _overloaded)
    look = await step(build_sampler(server))
    assert (look.pods, look.notes) == ({}, ())
    assert "too many samples" in look.error


async def test_a_part_is_used_where_that_is_allowed(server: Server) -> None:
    server.answer = _partial
    look = await step(build_sampler(server, prometheus_allow_partial=True))
    assert (look.error, len(look.pods)) == ("", 1)
    assert "No StoreAPIs matched" in look.notes[0]
    assert not any("partial_response" in form for form in server.seen)


async def test_a_round_asks_each_query_once_for_the_whole_answer(server: Server) -> None:
    await step(build_sampler(server))
    asked = sorted(form["query"] for form in server.seen)
    assert asked == sorted(query.text for query in WANTED.values())
    kept = {(form["partial_response"], form["deny_partial_response"], form["path"]) for form in server.seen}
    assert kept == {("false", "1", "/api/v1/query")}


async def test_the_task_survives_all_of_it(server: Server) -> None:
    """As it runs in the operator: a look for every round, and samples in the last."""
    rounds = [one.values[0] for one in TROUBLE if one.values[0] not in (_never, _drips)]
    seen: list[samples.Look] = []
    has_ended = asyncio.Event()

    def note(look: samples.Look) -> None:
        seen.append(look)
        server.answer = rounds[len(seen) - 1] if len(seen) <= len(rounds) else _well
        if len(seen) == len(rounds) + 2:
            has_ended.set()

    options = settings.Settings(prometheus_url=server.url, prometheus_timeout_s=TIMEOUT_S)
    at_once = options.model_copy(update={"prometheus_interval_s": 0.0})
    task = asyncio.create_task(prometheus.Sampler(at_once, note).run())
    async with asyncio.timeout(30):
        await has_ended.wait()
    task.cancel()
    assert [bool(look.error) for look in seen] == [False, *[True] * len(rounds), False]
    assert seen[-1].pods
