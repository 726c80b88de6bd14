"""Model agents: whom to ask when, and what of their answers is believed."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gpufleet import settings
from gpufleet.observe import agents, cluster
from gpufleet.state import fleet, models, names
from tests.unit.gpufleet.observe import fakes

OURS = {names.MANAGED_BY: names.MANAGER, names.SERVICE_LABEL: "web"}


def pod(
    version: int = 1, *, ready: bool = True, phase: str = "Running", ip: str = "127.0.0.1", **more: Any
) -> fakes.Raw:
    conditions = [{"type": "Ready", "status": str(ready)}]
    return fakes.build_raw(
        "web-0",
        version,
        labels=OURS,
        spec={"containers": []},
        status={"phase": phase, "podIP": ip, "conditions": conditions},
        **more,
    )


def wanted(revision: str) -> fakes.Raw:
    return fakes.build_raw("web-wanted-models", kind="ConfigMap") | {
        "data": {"models.json": json.dumps({"revision": revision})}
    }


def build(revision: str = "r1") -> tuple[agents.AgentPoller, cluster.Cluster, fakes.ManualClock]:
    time_source, options = fakes.ManualClock(), settings.Settings()
    seen = cluster.Cluster(fakes.ScriptedClient(), options, time_source)  # type: ignore[arg-type]
    seen.note_written(wanted(revision))
    return agents.AgentPoller(seen, options, time_source), seen, time_source


@pytest.mark.parametrize(
    ("raw", "asked"),
    [
        pytest.param(pod(), True, id="running"),
        pytest.param(pod(ready=False), True, id="not ready yet"),
        pytest.param(pod(phase="Pending"), False, id="pending"),
        pytest.param(pod(ip=""), False, id="without address"),
        pytest.param(pod(deletionTimestamp="2030-01-01T00:00:00Z"), False, id="terminating"),
    ],
)
def test_who_is_asked(raw: fakes.Raw, asked: bool) -> None:
    poller, seen, time_source = build()
    seen._pods.put(raw)
    assert bool(poller._due(time_source.time_s)) == asked


@pytest.mark.parametrize(
    ("answered", "after", "delay_s"),
    [
        pytest.param("r1", pod(), 60.0, id="settled"),
        pytest.param("r0", pod(), 2.0, id="answers to an old list"),
        pytest.param(None, pod(), 2.0, id="has not answered"),
        pytest.param("r1", pod(2, ready=False), 2.0, id="has changed"),
    ],
)
async def test_when_a_pod_is_asked_again(
    answered: str | None, after: fakes.Raw, delay_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    poller, seen, time_source = build()
    seen._pods.put(pod())

    async def answer(*_: Any) -> models.AgentReport | None:
        return models.AgentReport(answered) if answered else None

    monkeypatch.setattr(agents, "read_report", answer)
    for service, asked in poller._due(time_source.time_s):
        await poller._ask(None, service, asked)  # type: ignore[arg-type]
    seen._pods.put(after)
    assert poller._due(time_source.time_s + delay_s - 0.1) == []
    assert len(poller._due(time_source.time_s + delay_s)) == 1


async def test_a_changed_report_wakes_the_service_once(monkeypatch: pytest.MonkeyPatch) -> None:
    poller, seen, _ = build()
    seen._pods.put(pod())
    woken: list[Any] = []
    seen.on_dirty = woken.append

    async def answer(*_: Any) -> models.AgentReport:
        return models.AgentReport("r1")

    monkeypatch.setattr(agents, "read_report", answer)
    (due,) = poller._due(0)
    await poller._ask(None, *due)  # type: ignore[arg-type]
    await poller._ask(None, *due)  # type: ignore[arg-type]
    assert woken == [("TritonService", "team", "web")]


def test_a_report_goes_with_its_pod() -> None:
    poller, seen, _ = build()
    seen.reports["uid-of-a-gone-pod"] = models.AgentReport("r1")
    poller._due(0)
    assert seen.reports == {}


READY = {"revision": "r1", "models": [{"name": "a", "state": "Ready", "message": ""}]}
FAILED = {"revision": "r1", "models": [{"name": "a", "state": "Failed", "message": "x" * 5000}]}


@pytest.mark.parametrize(
    ("response", "report"),
    [
        pytest.param(
            {"body": json.dumps(READY)},
            models.AgentReport("r1", (models.ModelReport("a", "Ready"),)),
            id="ready",
        ),
        pytest.param(
            {"body": json.dumps(FAILED)},
            models.AgentReport("r1", (models.ModelReport("a", "Failed", "x" * 1024),)),
            id="long message is cut",
        ),
        pytest.param({"body": json.dumps(READY), "status": 503}, None, id="error"),
        pytest.param({"body": "", "status": 302, "headers": {"Location": "/models"}}, None, id="redirect"),
        pytest.param({"body": "not JSON"}, None, id="not JSON"),
        pytest.param({"body": '{"models": [{"name": "a", "state": "Odd"}]}'}, None, id="unknown state"),
        pytest.param({"body": json.dumps(READY) + " " * 70_000}, None, id="too long"),
    ],
)
async def test_answers(
    response: dict[str, Any], report: models.AgentReport | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(**response)

    app = web.Application()
    app.router.add_get("/models", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setattr(names, "AGENT_PORT", runner.addresses[0][1])
    try:
        async with aiohttp.ClientSession() as session:
            asked = fleet.Pod("u", "team", "web-0", ip="127.0.0.1")
            assert await agents.read_report(session, asked) == report
    finally:
        await runner.cleanup()


async def test_nobody_is_asked_where_polling_is_off() -> None:
    _, seen, _ = build()
    await agents.AgentPoller(seen, settings.Settings(poll_agents=False)).run()
