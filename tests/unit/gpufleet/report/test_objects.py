"""Metrics about single objects and devices: what each says, and how many there can be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import exposition

from gpufleet.report import objects
from gpufleet.state import snapshot
from tests import builders
from tests.builders import GPU

READY = {"type": "Ready", "status": "True", "reason": "AllModelsReady", "lastTransitionTime": builders.NOW}
STALLED = {"type": "Stalled", "status": "True", "reason": "Conflict", "lastTransitionTime": builders.NOW}
SUCCEEDED = {**READY, "type": "Succeeded", "reason": "Completed"}
RUNS = {**SUCCEEDED, "status": "Unknown", "reason": "Running"}
FAILED = {**SUCCEEDED, "status": "False", "reason": "OutOfMemory"}
SLICE = "nvidia.com/mig-1g.10gb"


def read(taken: snapshot.Snapshot, limit: int = 100) -> dict[tuple[str, ...], float]:
    """Values by name and labels' values; zeros are left out."""
    told = {}
    for family in objects.Objects(taken, limit).collect():
        for sample in family.samples:
            told[(sample.name.removeprefix("gpufleet_"), *sample.labels.values())] = sample.value
    return {key: value for key, value in told.items() if value}


def has(taken: snapshot.Snapshot, expected: Mapping[tuple[str, ...], float]) -> None:
    found = read(taken)
    assert {key: found.get(key) for key in expected} == expected


@pytest.mark.parametrize(
    ("conditions", "state", "reason"),
    [
        pytest.param([], "NotReady", "", id="not looked at yet"),
        pytest.param([READY], "Ready", "AllModelsReady", id="ready"),
        pytest.param([READY, STALLED], "Stalled", "Conflict", id="serves, and cannot go on"),
        pytest.param(
            [{**READY, "status": "False", "reason": "MountFailed"}], "NotReady", "MountFailed", id="not"
        ),
    ],
)
def test_a_service(conditions: list[Any], state: str, reason: str) -> None:
    status = {
        "conditions": conditions,
        "readyReplicas": 2,
        "assignment": {"replicas": 3},
        "models": [{"name": "m", "state": "Ready"}, {"name": "n", "state": "Loading"}],
    }
    objective = {"latency": {"percentile": "P95", "targetMilliseconds": 40}}
    service = builders.make_service(status=status, objective=objective)
    has(
        builders.make_snapshot(services=[service]),
        {
            ("objects", "TritonService", state): 1,
            ("object_info", "TritonService", "default", "vision", state, reason): 1,
            ("service_replicas_desired", "default", "vision"): 3,
            ("service_replicas_ready", "default", "vision"): 2,
            ("service_models_ready", "default", "vision"): 1,
            ("service_objective_seconds", "default", "vision", "0.95"): 0.04,
        },
    )


@pytest.mark.parametrize(
    ("status", "spec", "state"),
    [
        pytest.param({}, {}, "Waiting", id="new"),
        pytest.param({"conditions": [RUNS], "activeWorkers": 2}, {}, "Running", id="runs"),
        pytest.param({"conditions": [RUNS, STALLED]}, {}, "Stalled", id="cannot go on"),
        pytest.param({"conditions": [RUNS]}, {"suspend": True}, "Suspended", id="suspended"),
        pytest.param({"conditions": [SUCCEEDED]}, {}, "Succeeded", id="done"),
        pytest.param({"conditions": [FAILED, STALLED]}, {"suspend": True}, "Failed", id="failed"),
    ],
)
def test_the_state_of_a_job(status: dict[str, Any], spec: dict[str, Any], state: str) -> None:
    found = read(builders.make_snapshot(jobs=[builders.make_job(status=status, **spec)]))
    assert found["objects", "TrainingJob", state] == 1
    assert any(key[0] == "object_info" for key in found) == (state not in objects.ENDED)


def test_a_running_job() -> None:
    status = {
        "conditions": [RUNS],
        "activeWorkers": 2,
        "attempt": 3,
        "assignment": {"workers": 2, "accelerator": {"resource": GPU, "count": 8}},
        "failures": {"infrastructure": 1, "stalled": 1},
        "progress": {"step": 9, "checkpointTime": builders.NOW, "reportedAt": builders.NOW},
    }
    llm = ("default", "llm")
    has(
        builders.make_snapshot(jobs=[builders.make_job(status=status)]),
        {
            ("job_workers_assigned", *llm): 2,
            ("job_workers_active", *llm): 2,
            ("job_accelerators", *llm): 16,
            ("job_attempts", *llm): 3,
            ("job_failures", *llm): 2,
            ("job_checkpoint_timestamp_seconds", *llm): builders.NOW.timestamp(),
        },
    )


@pytest.mark.parametrize(
    ("history", "since_s"),
    [
        pytest.param([], -60.0, id="since it was made"),
        pytest.param([{"attempt": 1, "endedBy": "Infrastructure", "endTime": builders.NOW}], 0.0, id="again"),
    ],
)
def test_since_when_a_gang_waits(history: list[Any], since_s: float) -> None:
    job = builders.make_job(created_s=-60.0, status={"history": history})
    found = read(builders.make_snapshot(jobs=[job]))
    waits = found["job_waiting_since_timestamp_seconds", "default", "llm"]
    assert waits - builders.NOW.timestamp() == since_s


def test_devices_by_what_holds_them() -> None:
    nodes = [
        builders.make_node("a", {GPU: 8, SLICE: 7}),
        builders.make_node("b", {GPU: 8}, ready=False),
        builders.make_node("c", {GPU: 4}, pool="", product=""),
        builders.make_node("d", {}),
    ]
    pods = [
        builders.make_service_pod("one", node="a", requests={GPU: 2}),
        builders.make_pod("foreign", node="a", requests={SLICE: 3}),
        builders.make_service_pod("lost", node="b", requests={GPU: 1}),
        builders.make_service_pod("over", node="c", requests={GPU: 1}, phase="Succeeded"),
    ]
    has(
        builders.make_snapshot(nodes, pods, pools=[builders.make_pool()]),
        {
            ("devices", "a100", builders.A100, GPU, "used"): 3,
            ("devices", "a100", builders.A100, GPU, "free"): 6,
            ("devices", "a100", builders.A100, GPU, "unusable"): 7,
            ("devices", "a100", builders.A100, SLICE, "used"): 3,
            ("devices", "a100", builders.A100, SLICE, "free"): 4,
            ("devices", "", "", GPU, "free"): 4,
            ("nodes", "a100", "usable"): 1,
            ("nodes", "a100", "unusable"): 1,
            ("nodes", "", "usable"): 1,
        },
    )


def test_pods_of_what_is_told() -> None:
    pods = [
        builders.make_service_pod("vision-1"),
        builders.make_worker("llm-1-0", phase="Running"),
        builders.make_worker("llm-0-0", phase="Failed"),
        builders.make_service_pod("orphan", service="gone"),
        builders.make_pod("foreign"),
    ]
    taken = builders.make_snapshot((), pods, services=[builders.make_service()], jobs=[builders.make_job()])
    assert {key[1:] for key in read(taken) if key[0] == "pod_info"} == {
        ("default", "vision-1", "vision", ""),
        ("default", "llm-1-0", "", "llm"),
    }


@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 4))
def test_no_more_series_than_the_limit_allows(services: int, jobs: int, limit: int) -> None:
    taken = builders.make_snapshot(
        services=[builders.make_service(f"s{number}") for number in range(services)],
        jobs=[builders.make_job(f"j{number}") for number in range(jobs)],
    )
    found = read(taken, limit)
    told = {key[2:4] for key in found if key[0] == "object_info"}
    assert len(told) == min(services, limit) + min(jobs, limit)
    assert found.get(("objects_left_out", "TritonService"), 0) == max(0, services - limit)
    assert _sum(found, "objects") == services + jobs, "what is left out is counted all the same"


def _sum(found: Mapping[tuple[str, ...], float], name: str) -> float:
    return sum(value for key, value in found.items() if key[0] == name)


def test_labels_never_collide_with_those_of_a_scrape() -> None:
    taken_by_scrapes = {"namespace", "pod", "instance", "job", "container", "endpoint", "node"}
    for family in objects.FAMILIES:
        assert not taken_by_scrapes & set(family.labels), family.name


def test_an_empty_fleet_is_told_in_zeros() -> None:
    text = exposition.generate_latest(objects.Objects(builders.make_snapshot(), 10)).decode()
    for kind, states in _states():
        assert f'gpufleet_objects{{kind="{kind}",state="{states[0]}"}} 0.0' in text


def _states() -> Iterable[tuple[str, tuple[str, ...]]]:
    return objects.STATES.items()
