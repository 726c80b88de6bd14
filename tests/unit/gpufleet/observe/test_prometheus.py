"""What may come back from Prometheus, from a server that answers as one would in trouble."""

from __future__ import annotations

import asyncio
import json
import pathlib
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gpufleet import settings
from gpufleet.observe import prometheus, queries
from gpufleet.state import samples

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def vector(*series: tuple[dict[str, str], str]) -> dict[str, Any]:
    result = [{"metric": metric, "value": [1.0, value]} for metric, value in series]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


def of_pod(name: str, **labels: str) -> dict[str, str]:
    return {"namespace": "team-a", "pod": name, **labels}


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        pytest.param([(of_pod("a"), "2.5")], {"a": 2.5}, id="a value"),
        pytest.param([(of_pod("a"), "NaN"), (of_pod("b"), "+Inf")], {}, id="no finite number"),
        pytest.param([(of_pod("a"), "-1")], {}, id="a rate below nothing"),
        pytest.param([({"namespace": "team-a"}, "1")], {}, id="no pod"),
        pytest.param([(of_pod("a"), "1"), (of_pod("a"), "3")], {"a": 3.0}, id="twice: the larger counts"),
        pytest.param([(of_pod("x", exported_pod="a"), "1")], {"x": 1.0}, id="what a pod says of others"),
        pytest.param([], {}, id="nothing"),
    ],
)
def test_values(series: list[tuple[dict[str, str], str]], expected: dict[str, float]) -> None:
    found = prometheus.parse(json.dumps(vector(*series)).encode())
    assert found == {("team-a", name): value for name, value in expected.items()}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<html>login</html>", id="a login page"),
        pytest.param(b'{"status":"error","error":"query timed out"}', id="an error"),
        pytest.param(b'{"status":"success","data":{"resultType":"matrix","result":[]}}', id="a matrix"),
        pytest.param(b'{"status":"success","data":{"resultType":"vector","result":[1]}}', id="nonsense"),
    ],
)
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(prometheus.PrometheusError):
        prometheus.parse(body)


async def ask(answer: Answer, **options: Any) -> samples.Look:
    """One round of the sampler against a server that answers so."""
    app = web.Application()
    app.router.add_post("/api/v1/query", answer)
    looks: list[samples.Look] = []
    async with TestServer(app) as server:
        wanted = {"prometheus_url": str(server.make_url("/")), "prometheus_timeout_s": 0.5, **options}
        sampler = prometheus.Sampler(settings.Settings(**wanted), looks.append)
        timeout = aiohttp.ClientTimeout(total=0.5)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            await sampler.step(session)
    return looks[-1]


async def _well(request: web.Request) -> web.Response:
    return web.json_response(vector((of_pod("a"), "1")))


async def _slow(request: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


async def _down(request: web.Request) -> web.Response:
    return web.Response(status=503, text="no healthy upstream")


async def _elsewhere(request: web.Request) -> web.Response:
    raise web.HTTPFound("/somewhere")


async def _one_fails(request: web.Request) -> web.Response:
    query = (await request.post())["query"]
    if "pending" in str(query):
        return web.json_response({"status": "error", "error": "too many samples"}, status=422)
    return await _well(request)


async def _huge(request: web.Request) -> web.Response:
    return web.Response(body=b" " * (prometheus.LARGEST_ANSWER + 1))


async def test_a_round_joins_all_queries() -> None:
    look = await ask(_well)
    assert look.error == ""
    assert look.pods == {("team-a", "a"): samples.PodSample(**dict.fromkeys(queries.build("1m"), 1.0))}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(_slow, "in time", id="slow"),
        pytest.param(_down, "503: no healthy upstream", id="down"),
        pytest.param(_elsewhere, "302", id="redirects are not followed"),
        pytest.param(_one_fails, "too many samples", id="one query of all fails"),
        pytest.param(_huge, "longer than", id="huge"),
    ],
)
async def test_a_round_that_fails_has_a_reason_and_no_samples(
    answer: Answer, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus, "LARGEST_ANSWER", 1000)
    look = await ask(answer)
    assert said in look.error
    assert not look.pods


async def test_the_token_is_read_for_every_query(tmp_path: pathlib.Path) -> None:
    seen: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return await _well(request)

    (tmp_path / "token").write_text("abc\n")
    await ask(answer, prometheus_secret_dir=str(tmp_path))
    assert set(seen) == {"Bearer abc"}


async def test_without_a_prometheus_the_reason_is_told_once() -> None:
    looks: list[samples.Look] = []
    await prometheus.Sampler(settings.Settings(), looks.append).run()
    assert [(one.number, one.error) for one in looks] == [(1, prometheus.NOT_CONFIGURED)]


def test_queries_are_constant_but_for_the_window() -> None:
    assert {text.replace("30s", "1m") for text in queries.build("30s").values()} == set(
        queries.build("1m").values()
    )
