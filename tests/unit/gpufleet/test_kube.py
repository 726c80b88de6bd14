"""Requests to an API server that a test plays: paths, errors, time limits, rates, watches."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from kubernetes import aio

from gpufleet import kube, settings

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        pytest.param(("v1", "Pod"), "/api/v1/pods", id="core collection"),
        pytest.param(("v1", "Node", "", "n1"), "/api/v1/nodes/n1", id="cluster-scoped"),
        pytest.param(
            ("apps/v1", "Deployment", "team", "web"),
            "/apis/apps/v1/namespaces/team/deployments/web",
            id="group",
        ),
        pytest.param(
            ("gpufleet.dev/v1alpha1", "GPUPool", "", "h100", "status"),
            "/apis/gpufleet.dev/v1alpha1/gpupools/h100/status",
            id="subresource",
        ),
        pytest.param(
            ("v1", "ConfigMap", "a/../b", "x?y"),
            "/api/v1/namespaces/a%2F..%2Fb/configmaps/x%3Fy",
            id="escaped",
        ),
    ],
)
def test_path(arguments: tuple[str, ...], path: str) -> None:
    assert kube.path(*arguments) == path


@given(st.sampled_from(sorted(kube.PLURALS)), st.sampled_from(["v1", "apps/v1"]), st.text(), st.text())
def test_a_path_names_its_kind_whatever_the_names(kind: str, version: str, namespace: str, name: str) -> None:
    built = kube.path(version, kind, namespace, name)
    assert kube.kind_of(built) == kube.PLURALS[kind]
    assert "?" not in built


@pytest.mark.parametrize(
    ("status", "error"),
    [
        pytest.param(400, kube.Refused, id="400"),
        pytest.param(401, kube.ApiError, id="401"),
        pytest.param(403, kube.Refused, id="403"),
        pytest.param(404, kube.NotFound, id="404"),
        pytest.param(409, kube.Conflict, id="409"),
        pytest.param(410, kube.Gone, id="410"),
        pytest.param(422, kube.Refused, id="422"),
        pytest.param(429, kube.Unavailable, id="429"),
        pytest.param(503, kube.Unavailable, id="503"),
    ],
)
async def test_errors(status: int, error: type[kube.ApiError]) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"kind": "Status", "message": "in its own words"}, status=status)

    counted: list[tuple[str, str, int]] = []
    async with serving(answer, on_answer=lambda *told: counted.append(told)) as client:
        with pytest.raises(kube.ApiError) as raised:
            await client.get("/api/v1/pods")
    assert counted == [("GET", "pods", status)]
    assert type(raised.value) is error
    assert (raised.value.status, raised.value.message) == (status, "in its own words")


@pytest.mark.parametrize(
    ("causes", "said"),
    [
        pytest.param(
            [{"reason": "DisruptionBudget", "message": "the budget b"}], "no. the budget b", id="new"
        ),
        pytest.param([{"reason": "FieldValueInvalid", "message": "no"}], "no.", id="said already"),
        pytest.param([{"reason": "X"}], "no.", id="empty"),
        pytest.param(None, "no.", id="none"),
    ],
)
async def test_causes_that_the_message_does_not_name_are_told(causes: object, said: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        status = {"kind": "Status", "message": "no.", "details": {"causes": causes}}
        return web.json_response(status, status=429)

    async with serving(answer) as client:
        with pytest.raises(kube.Unavailable) as raised:
            await client.get("/api/v1/pods")
    assert raised.value.message == said


@contextlib.asynccontextmanager
async def serving(
    answer: Answer,
    on_write: kube.OnWrite | None = None,
    on_answer: kube.OnAnswer = lambda *_: None,
    **options: Any,
) -> AsyncIterator[kube.Client]:
    """A client whose API server answers everything with `answer`."""
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    configuration = aio.client.Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
    configuration.api_key["BearerToken"] = "bearer of-the-test"
    client = kube.Client(
        aio.client.ApiClient(configuration), settings.Settings(**options), on_write, on_answer=on_answer
    )
    try:
        yield client
    finally:
        await client.close()
        await runner.cleanup()


class Recorder:
    """Answers every request with `{}` and keeps it."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str, str, Any]] = []

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.text()
        self.requests.append(
            (
                request.method,
                request.path_qs,
                request.headers.get("Content-Type", ""),
                request.headers["Authorization"],
                json.loads(body) if body else None,
            )
        )
        return web.json_response({"kind": "Any"})


async def test_writes_as_the_api_server_wants_them() -> None:
    recorder, heard = Recorder(), []
    path = kube.path("v1", "ConfigMap", "team", "a")
    async with serving(recorder.answer, lambda verb, kind: heard.append((verb, kind))) as client:
        assert await client.apply(path, {"a": 1}, manager="gpufleet", force=True) == {"kind": "Any"}
        await client.merge_patch(path, {"a": None}, manager="gpufleet")
        await client.create(kube.path("v1", "ConfigMap", "team"), {"a": 2})
        await client.delete(path, uid="u1", resource_version="7")
    token = "bearer of-the-test"
    options = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": "u1", "resourceVersion": "7"},
        "propagationPolicy": "Background",
    }
    assert recorder.requests == [
        (
            "PATCH",
            f"{path}?fieldManager=gpufleet&force=true",
            "application/apply-patch+yaml",
            token,
            {"a": 1},
        ),
        ("PATCH", f"{path}?fieldManager=gpufleet", "application/merge-patch+json", token, {"a": None}),
        ("POST", "/api/v1/namespaces/team/configmaps", "application/json", token, {"a": 2}),
        ("DELETE", path, "application/json", token, options),
    ]
    assert heard == [(verb, "configmaps") for verb in ("apply", "patch", "create", "delete")]


async def test_deleting_what_is_gone_is_fine_but_not_what_has_changed() -> None:
    statuses = iter([404, 409])

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({}, status=next(statuses))

    async with serving(answer) as client:
        await client.delete("/api/v1/namespaces/team/pods/a", uid="u")
        with pytest.raises(kube.Conflict):
            await client.delete("/api/v1/namespaces/team/pods/a", uid="u")


async def test_a_request_that_hangs_is_given_up() -> None:
    hanging = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        await hanging.wait()
        return web.json_response({})

    async with serving(answer, request_timeout_s=0.1) as client:
        with pytest.raises(kube.Unavailable):
            await client.get("/api/v1/pods")
        hanging.set()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<html>", id="not JSON"),
        pytest.param(b"[1]", id="no object"),
        pytest.param(b"", id="none"),
    ],
)
async def test_an_answer_that_is_none_is_unavailable(body: bytes) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body)

    async with serving(answer) as client:
        with pytest.raises(kube.Unavailable):
            await client.get("/api/v1/pods")


async def test_no_server_at_all_is_unavailable() -> None:
    configuration = aio.client.Configuration(host="http://127.0.0.1:1")
    counted: list[tuple[str, str, int]] = []
    client = kube.Client(
        aio.client.ApiClient(configuration),
        settings.Settings(),
        on_answer=lambda *told: counted.append(told),
    )
    with pytest.raises(kube.Unavailable):
        await client.get("/api/v1/pods")
    assert counted == [("GET", "pods", 0)]
    await client.close()


def stream(*chunks: bytes, then: asyncio.Event | None = None) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.query["allowWatchBookmarks"] == "true"
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(0)
        if then:
            await then.wait()
        await response.write_eof()
        return response

    return answer


async def watch(client: kube.Client) -> list[kube.Raw]:
    return [event async for event in client.watch("/api/v1/pods", resourceVersion="5")]


async def test_a_watch_joins_lines_across_chunks() -> None:
    large = json.dumps({"type": "ADDED", "object": {"name": "x" * 3_000_000}}).encode()
    small = b'{"type": "BOOKMARK", "object": {}}'
    async with serving(
        stream(large[:70], large[70:] + b"\n" + small[:5], small[5:] + b"\n\n" + small + b"\n")
    ) as client:
        events = await watch(client)
    assert [event["type"] for event in events] == ["ADDED", "BOOKMARK", "BOOKMARK"]
    assert len(events[0]["object"]["name"]) == 3_000_000


async def test_an_error_event_is_the_error_it_stands_for() -> None:
    line = b'{"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}\n'
    async with serving(stream(line)) as client:
        with pytest.raises(kube.Gone, match="too old"):
            await watch(client)


async def test_a_silent_watch_is_given_up() -> None:
    hanging = asyncio.Event()
    async with serving(stream(then=hanging), watch_stale_s=0.2) as client:
        with pytest.raises(kube.Unavailable):
            await watch(client)
        hanging.set()
