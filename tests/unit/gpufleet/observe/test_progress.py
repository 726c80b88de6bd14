"""Progress: whom to ask when, and what of the answers is believed."""

from __future__ import annotations

import datetime
import json
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gpufleet import settings
from gpufleet.observe import cluster
from gpufleet.observe import progress as observing
from gpufleet.state import fleet, names, progress
from tests.unit.gpufleet.observe import fakes

LEADER = {
    names.MANAGED_BY: names.MANAGER,
    names.JOB_LABEL: "llm",
    names.ATTEMPT_LABEL: "1",
    names.COMPLETION_INDEX_ANNOTATION: "0",
}


def pod(labels: dict[str, str] | None = None, *, phase: str = "Running", **more: Any) -> fakes.Raw:
    status = {"phase": phase, "podIP": more.pop("ip", "127.0.0.1")}
    return fakes.build_raw("llm-1-0", labels=labels or LEADER, spec={"containers": []}, status=status, **more)


def build(port: int | None = 8080) -> tuple[observing.ProgressPoller, cluster.Cluster, fakes.ManualClock]:
    time_source = fakes.ManualClock()
    seen = cluster.Cluster(fakes.ScriptedClient(), settings.Settings(), time_source)  # type: ignore[arg-type]
    spec = {"workers": {"max": 1}, "template": {"image": "i"}} | (
        {"progress": {"port": port}} if port else {}
    )
    seen.note_event("TrainingJob", None, fakes.build_raw("llm", spec=spec))
    return observing.ProgressPoller(seen, settings.Settings(), time_source), seen, time_source


@pytest.mark.parametrize(
    ("raw", "port", "asked"),
    [
        pytest.param(pod(), 8080, True, id="runs"),
        pytest.param(pod(), None, False, id="the job tells nothing"),
        pytest.param(pod(LEADER | {names.COMPLETION_INDEX_ANNOTATION: "1"}), 8080, False, id="worker 1"),
        pytest.param(pod(LEADER | {names.JOB_LABEL: "other"}), 8080, False, id="another job's"),
        pytest.param(pod(phase="Pending"), 8080, False, id="pending"),
        pytest.param(pod(ip=""), 8080, False, id="without address"),
        pytest.param(pod(deletionTimestamp="2030-01-01T00:00:00Z"), 8080, False, id="on its way out"),
    ],
)
def test_who_is_asked(raw: fakes.Raw, port: int | None, asked: bool) -> None:
    _, seen, _ = build(port)
    seen._pods.put(raw)
    assert [port for _, port in observing.find_leaders(seen)] == ([8080] if asked else [])


@pytest.mark.parametrize(
    ("body", "report"),
    [
        pytest.param({"step": 3}, progress.Report(3), id="a step"),
        pytest.param(
            {"step": 3, "totalSteps": 9, "loss": 0.1}, progress.Report(3, 9), id="with more than is asked"
        ),
        pytest.param(
            {"step": 3, "checkpoint": {"step": 2, "time": "2030-01-01T13:00:00.5+01:00"}},
            progress.Report(3, None, 2, datetime.datetime(2030, 1, 1, 12, tzinfo=datetime.UTC)),
            id="a checkpoint, in UTC",
        ),
        pytest.param({"step": -1}, None, id="a step before the first"),
        pytest.param({"totalSteps": 9}, None, id="no step"),
        pytest.param({"step": 3, "checkpoint": {"step": 2, "time": "noon"}}, None, id="no time"),
        pytest.param({"step": 3, "text": "x" * 5000}, None, id="too long"),
        pytest.param("step 3", None, id="another language"),
    ],
)
async def test_what_is_believed(body: Any, report: progress.Report | None, unused_tcp_port: int) -> None:
    async with served(body, unused_tcp_port) as session:
        asked = fleet.Pod("uid", "team", "llm-1-0", ip="127.0.0.1")
        assert await observing.read_report(session, asked, unused_tcp_port) == report


async def test_who_does_not_answer_tells_nothing(unused_tcp_port: int) -> None:
    async with aiohttp.ClientSession() as session:
        asked = fleet.Pod("uid", "team", "llm-1-0", ip="127.0.0.1")
        assert await observing.read_report(session, asked, unused_tcp_port) is None


async def test_a_job_is_looked_at_for_its_checkpoints_not_for_its_steps(unused_tcp_port: int) -> None:
    poller, seen, time_source = build(unused_tcp_port)
    seen._pods.put(pod())
    dirty: list[Any] = []
    seen.on_dirty = dirty.append
    answers = [
        {"step": 1, "checkpoint": {"step": 1}},
        {"step": 2, "checkpoint": {"step": 1}},
        {"step": 3, "checkpoint": {"step": 3}},
    ]
    counts = []
    for answer in answers:
        async with served(answer, unused_tcp_port) as session:
            await poller.poll(session)
            await poller.poll(session)
        time_source.time_s += observing.INTERVAL_S
        counts.append(len(dirty))
    assert counts == [1, 1, 2]
    assert seen.progress["uid-llm-1-0"].newest == progress.Report(3, None, 3)


async def test_what_has_gone_is_forgotten(unused_tcp_port: int) -> None:
    poller, seen, _ = build(unused_tcp_port)
    seen._pods.put(pod())
    async with served({"step": 1}, unused_tcp_port) as session:
        await poller.poll(session)
        assert seen.progress
        seen._pods.remove("team", "llm-1-0", "uid-llm-1-0")
        await poller.poll(session)
    assert not seen.progress


class served:
    """A program that answers so, and a session to ask it with."""

    def __init__(self, body: Any, port: int) -> None:
        self._text = body if isinstance(body, str) else json.dumps(body)
        self._port = port

    async def __aenter__(self) -> aiohttp.ClientSession:
        app = web.Application()
        app.router.add_get("/progress", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._session = aiohttp.ClientSession()
        return self._session

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        await self._runner.cleanup()

    async def _answer(self, _: web.Request) -> web.Response:
        return web.Response(text=self._text)
