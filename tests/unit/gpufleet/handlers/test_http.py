"""Probes, metrics and the read API, as a leader and as a standby."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import aiohttp
import pytest

import gpufleet
from gpufleet import runtime, settings, worker
from gpufleet.api import training_job
from gpufleet.decide.autoscaling import memories
from gpufleet.decide.placement.gangs import need as needs
from gpufleet.decide.placement.gangs import reserving, taking, victims, waiting
from gpufleet.decide.placement.gangs import tree as trees
from gpufleet.handlers import http
from gpufleet.observe import cluster
from gpufleet.report import metrics
from gpufleet.state import names, progress, samples
from tests import builders, builders_api
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
        pytest.param(STANDBY, "/queue", 503, {"leader": "the-other"}, id="standby knows no queue"),
        pytest.param(STANDBY, "/mig-plan", 503, {"leader": "the-other"}, id="standby makes no plan"),
        pytest.param(STANDBY, "/about", 503, {"leader": "the-other"}, id="standby leaves it to the leader"),
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


async def test_who_waits(unused_tcp_port: int) -> None:
    life = build_scaling_leader()
    assert life.runtime is not None
    job = builders.make_job("llm", "team")
    need = needs.Need(job, builders.make_assigned(), trees.ANYWHERE)
    held = reserving.Reservation(need, {}, 9.6, "a ends")
    victim = victims.Victim(builders.make_job("b", "team"), 0, {}, 1.0, 1.0)
    given = training_job.JobAssignment(workers=0, reason="Reserved", message="it waits")
    life.runtime.queue = (waiting.Waiting(job, given, held, taking.Taking((victim,))),)
    _, body = await ask(life, "/queue", unused_tcp_port)
    [told] = json.loads(body)["jobs"]
    assert (told["name"], told["position"], told["reason"]) == ("llm", 1, "Reserved")
    assert (told["etaSeconds"], told["basis"], told["wouldEnd"]) == (10, "a ends", ["team/b"])


async def test_the_leader_tells_of_itself(unused_tcp_port: int) -> None:
    status, body = await ask(build_scaling_leader(), "/about", unused_tcp_port)
    told = json.loads(body)
    assert (status, told["version"], told["silentWatches"]) == (200, gpufleet.__version__, [])
    assert told["prometheus"]["ageSeconds"] > 0
    assert told["prometheus"]["configured"] is False


async def test_metrics(unused_tcp_port: int) -> None:
    metrics.LEADER.set(0)
    status, body = await ask(STANDBY, "/metrics", unused_tcp_port)
    assert status == 200
    assert b"gpufleet_leader 0.0" in body


async def test_only_a_leader_that_has_seen_the_cluster_tells_of_objects(unused_tcp_port: int) -> None:
    told = {}
    for life in (build_leader(), build_leader(is_synced=False), STANDBY):
        _, body = await ask(life, "/metrics", unused_tcp_port)
        told[life.is_synced] = b'gpufleet_objects{kind="GPUPool",state="NotReady"} 1.0' in body
    assert told == {True: True, False: False}


def build_scaling_leader(number: int = 1) -> http.Life:
    """A leader that scales `vision` and has looked at it, if `number` is not 0."""
    life = build_leader()
    assert life.cluster is not None
    life.cluster.note_event("TritonService", None, scaled_service())
    time_source = fakes.ManualClock()
    running = runtime.Runtime(None, life.cluster, settings.Settings(), time_source, worker.Worker(["false"]))  # type: ignore[arg-type]
    running.look = samples.Look(number, 0.0) if number else samples.NOT_ASKED
    running.scaled = memories.scale_all(life.cluster.read_snapshot(), running.look, {}, time_source.now())
    return dataclasses.replace(life, runtime=running)


def scaled_service() -> dict[str, Any]:
    scaling = {"maxReplicas": 3, "targets": [{"signal": "RequestRate", "value": 10}]}
    raw = builders_api.make_service("vision", "team", autoscaling=scaling)
    raw["metadata"] |= {"uid": "uid-vision", "generation": 1}
    return raw


@pytest.mark.parametrize(
    ("life", "path", "status", "says"),
    [
        pytest.param(STANDBY, "/decisions", 503, {"leader": "the-other"}, id="a standby names the leader"),
        pytest.param(build_leader(), "/decisions", 503, {"leader": ""}, id="a leader that does not work yet"),
        pytest.param(build_scaling_leader(), "/what-if", 400, "name the service", id="no name"),
        pytest.param(
            build_scaling_leader(),
            "/what-if?namespace=team&name=vision&rate=fast",
            400,
            "rate is 'fast': it must be a number from 0 to 1000",
            id="no number",
        ),
        pytest.param(
            build_scaling_leader(), "/what-if?namespace=team&name=vision", 400, "rate is ''", id="no rate"
        ),
        pytest.param(
            build_scaling_leader(), "/what-if?namespace=team&name=vision&rate=nan", 400, "rate", id="NaN"
        ),
        pytest.param(
            build_scaling_leader(),
            "/what-if?namespace=team&name=vision&rate=1001",
            400,
            "rate",
            id="too much",
        ),
        pytest.param(
            build_scaling_leader(),
            "/what-if?namespace=team&name=other&rate=2",
            404,
            "there is no TritonService team/other",
            id="unknown",
        ),
        pytest.param(
            build_scaling_leader(0),
            "/what-if?namespace=team&name=vision&rate=2",
            409,
            "nothing is decided yet: Prometheus was not asked yet",
            id="nothing decided",
        ),
    ],
)
async def test_refusals_say_why(
    life: http.Life, path: str, status: int, says: str | dict[str, Any], unused_tcp_port: int
) -> None:
    found, body = await ask(life, path, unused_tcp_port)
    told = json.loads(body)
    assert found == status
    assert says.items() <= told.items() if isinstance(says, dict) else says in told["message"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("", ["vision"], id="all"),
        pytest.param("?namespace=team", ["vision"], id="its namespace"),
        pytest.param("?namespace=other", [], id="another namespace"),
        pytest.param("?namespace=team&name=vision", ["vision"], id="itself"),
        pytest.param("?namespace=team&name=v", [], id="another name"),
    ],
)
async def test_decisions(query: str, expected: list[str], unused_tcp_port: int) -> None:
    status, body = await ask(build_scaling_leader(), f"/decisions{query}", unused_tcp_port)
    assert status == 200
    assert [one["name"] for one in json.loads(body)["services"]] == expected


async def test_a_plan_of_mig_layouts(unused_tcp_port: int) -> None:
    life = build_scaling_leader()
    assert life.cluster is not None
    spec = {"nodeSelector": {"a": "b"}, "mig": {"mode": "Dynamic"}}
    life.cluster.note_event("GPUPool", None, fakes.build_raw("cut", spec=spec))
    status, body = await ask(life, "/mig-plan", unused_tcp_port)
    assert status == 200
    [pool] = json.loads(body)["pools"]
    assert (pool["name"], pool["act"], pool["reason"]) == ("cut", "Advisory", "NoDemand")


async def test_asking_what_if_changes_nothing(unused_tcp_port: int) -> None:
    life = build_scaling_leader()
    assert life.runtime is not None
    before = life.runtime.scaled
    path = "/what-if?namespace=team&name=vision&rate=2"
    status, body = await ask(life, path, unused_tcp_port)
    told = json.loads(body)
    assert (status, told["rate"], told["decision"]["replicas"]) == (200, 2.0, 1)
    assert life.runtime.scaled is before


async def ask(life: http.Life, path: str, port: int) -> tuple[int, bytes]:
    options = settings.Settings(http_host="127.0.0.1", http_port=port)
    async with (
        http.serving(life, options),
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as response,
    ):
        return response.status, await response.read()
