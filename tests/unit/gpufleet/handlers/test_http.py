"""Probes, metrics and the read API, as a leader and as a standby."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from gpufleet import settings
from gpufleet.handlers import http
from gpufleet.observe import cluster
from gpufleet.report import metrics
from gpufleet.state import names, progress
from tests.unit.gpufleet.observe import fakes


def build_leader(*, is_synced: bool = True, silent_s: float = 0.0) -> http.Life:
    time_source = fakes.ManualClock()
    seen = cluster.Cluster(fakes.ScriptedClient(), settings.Settings(), time_source)  # type: ignore[arg-type]
    spec = {"nodeSelector": {"a": "b"}}
    seen.note_event("GPUPool", None, fakes.build_raw("h100", spec=spec))
    time_source.time_s += silent_s
    return http.Life(cluster=seen, is_synced=is_synced)


STANDBY = http.Life(read_holder=lambda: "the-other")


@pytest.mark.parametrize(
    ("life", "path", "status", "says"),
    [
        pytest.param(build_leader(), "/healthz", 200, {"ok": True}, id="leader lives"),
        pytest.param(build_leader(silent_s=300), "/healthz", 503, {"ok": False}, id="silent watches"),
        pytest.param(STANDBY, "/healthz", 200, {"ok": True}, id="standby lives"),
        pytest.param(build_leader(), "/readyz", 200, {"role": "leader"}, id="leader"),
        pytest.param(
            build_leader(is_synced=False), "/readyz", 503, {"role": "leader"}, id="leader not synced"
        ),
        pytest.param(STANDBY, "/readyz", 200, {"role": "standby"}, id="standby"),
        pytest.param(STANDBY, "/snapshot", 503, {"leader": "the-other"}, id="standby names the leader"),
        pytest.param(build_leader(is_synced=False), "/snapshot", 503, {}, id="no half snapshot"),
        pytest.param(STANDBY, "/progress", 503, {"leader": "the-other"}, id="standby knows no progress"),
        pytest.param(build_leader(), "/progress", 200, {"jobs": []}, id="nobody tells of progress"),
    ],
)
async def test_answers(
    life: http.Life, path: str, status: int, says: dict[str, Any], unused_tcp_port: int
) -> None:
    found, body = await ask(life, path, unused_tcp_port)
    assert found == status
    assert says.items() <= json.loads(body).items()


async def test_the_snapshot_has_objects_in_their_wire_form(unused_tcp_port: int) -> None:
    _, body = await ask(build_leader(), "/snapshot", unused_tcp_port)
    taken = json.loads(body)
    assert taken["pools"][0]["spec"]["nodeSelector"] == {"a": "b"}
    assert taken["nodes"] == []


async def test_how_far_a_job_is(unused_tcp_port: int) -> None:
    life = build_leader()
    assert life.cluster is not None
    labels = {
        names.MANAGED_BY: names.MANAGER, names.JOB_LABEL: "llm", names.COMPLETION_INDEX_ANNOTATION: "0"
    }  # fmt: skip
    spec = {"workers": {"max": 1}, "template": {"image": "i"}, "progress": {"port": 8080}}
    life.cluster.note_event("TrainingJob", None, fakes.build_raw("llm", spec=spec))
    running = {"phase": "Running", "podIP": "10.0.0.1"}
    life.cluster._pods.put(fakes.build_raw("llm-1-0", labels=labels, spec={"containers": []}, status=running))
    now = fakes.ManualClock().now()
    life.cluster.progress["uid-llm-1-0"] = progress.Progress(0, 0).take(progress.Report(3, 9), now, 1)
    _, body = await ask(life, "/progress", unused_tcp_port)
    [told] = json.loads(body)["jobs"]
    assert {"namespace": "team", "name": "llm", "step": 3, "totalSteps": 9}.items() <= told.items()


async def test_metrics(unused_tcp_port: int) -> None:
    metrics.LEADER.set(0)
    status, body = await ask(STANDBY, "/metrics", unused_tcp_port)
    assert status == 200
    assert b"gpufleet_leader 0.0" in body


async def ask(life: http.Life, path: str, port: int) -> tuple[int, bytes]:
    options = settings.Settings(http_host="127.0.0.1", http_port=port)
    async with (
        http.serving(life, options),
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as response,
    ):
        return response.status, await response.read()
