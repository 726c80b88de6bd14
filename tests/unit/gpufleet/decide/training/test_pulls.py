from __future__ import annotations

import datetime
from typing import Any

import pytest

from gpufleet import settings
from gpufleet.decide.training import job as jobs
from gpufleet.state import fleet
from tests import builders
from tests.builders import NOW, make_attempt, make_worker


def pulling(age_s: float, reason: str = "ImagePullBackOff", index: int = 1) -> fleet.Pod:
    started = (NOW - datetime.timedelta(seconds=age_s)).isoformat().replace("+00:00", "Z")
    state = fleet.ContainerState("worker", waiting_reason=reason, message="not found")
    return make_worker(f"llm-1-{index}", node=f"node-{index}", containers=(state,), started_at=started)


RUNS = make_worker("llm-1-0", phase="Running", node="node-0")


def decide(*pods: fleet.Pod) -> Any:
    status = {"attempt": 1, "assignment": {"workers": 2, "requested": "none"}}
    job = builders.make_job(status=status, created_s=-900.0)
    view = builders.make_job_view(job, children=(make_attempt(1),), pods=pods)
    return jobs.decide(view, settings.Settings(), NOW)


@pytest.mark.parametrize(
    ("pods", "again_s"),
    [
        pytest.param((RUNS, pulling(20)), 100, id="one node, for a while"),
        pytest.param((pulling(20, index=0), pulling(50)), 550, id="every node, for a while"),
        pytest.param((pulling(0, "ContainerCreating"),), None, id="is being created"),
    ],
)
def test_a_pull_may_take_its_time(pods: tuple[fleet.Pod, ...], again_s: float | None) -> None:
    decided = decide(*pods)
    assert (decided.requeue_after_s, decided.status.get("history", [])) == (again_s, [])


@pytest.mark.parametrize(
    ("pods", "ended", "node"),
    [
        pytest.param((RUNS, pulling(120)), "Infrastructure", "node-1", id="one node"),
        pytest.param((pulling(600, index=0), pulling(50)), "UserError", "", id="every node"),
        pytest.param((RUNS, pulling(0, "InvalidImageName")), "UserError", "", id="no image has such a name"),
    ],
)
def test_a_gang_does_not_wait_for_ever(pods: tuple[fleet.Pod, ...], ended: str, node: str) -> None:
    [record] = decide(*pods).status["history"]
    assert (record["endedBy"], record.get("node", "")) == (ended, node)
    assert "trainer:1" in record["message"]
