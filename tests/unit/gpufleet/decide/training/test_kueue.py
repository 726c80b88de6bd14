from __future__ import annotations

from typing import Any

import pytest

from gpufleet import settings
from gpufleet.api import reasons
from gpufleet.decide.training import job as jobs
from gpufleet.decide.training import kueue, pod
from tests import builders
from tests.builders import NOW, make_attempt, make_worker

QUEUE = {"kind": "LocalQueue", "name": "team"}
ADMITTED = {"workers": 2, "requested": "none"}


def make(status: dict[str, Any] | None = None, **spec: Any) -> Any:
    given = {"attempt": 1, "assignment": ADMITTED, **(status or {})}
    return builders.make_job(status=given, created_s=-60.0, **{"queue": QUEUE, **spec})


def decide(job: Any, **fields: Any) -> Any:
    return jobs.decide(builders.make_job_view(job, **fields), settings.Settings(), NOW)


def test_the_child_is_labelled_and_waits() -> None:
    [job] = [
        one for one in decide(make(queue=QUEUE | {"priorityClassName": "high"})).apply if one["kind"] == "Job"
    ]
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team"
    assert job["metadata"]["labels"]["kueue.x-k8s.io/priority-class"] == "high"
    assert job["spec"]["suspend"] is True
    assert "annotations" not in job["metadata"]


def test_without_a_queue_nothing_of_it_is_said() -> None:
    [job] = [one for one in decide(make(queue=None)).apply if one["kind"] == "Job"]
    assert not [label for label in job["metadata"]["labels"] if label.startswith(kueue.PREFIX)]
    assert "suspend" not in job["spec"]


@pytest.mark.parametrize(
    ("spec", "least"),
    [
        pytest.param({"workers": {"max": 4}}, None, id="a fixed size"),
        pytest.param({"workers": {"min": 2, "max": 4}}, "2", id="plain workers"),
        pytest.param(
            {"workers": {"min": 2, "max": 4}, "framework": "JAX"}, None, id="workers are told their number"
        ),
        pytest.param(
            {"workers": {"min": 2, "max": 4}, "framework": "Torch", "torch": {"rendezvous": "Elastic"}},
            "2",
            id="elastic agents",
        ),
        pytest.param(
            {"workers": {"min": 2, "max": 4}, "parallelism": {"tensor": 2}},
            None,
            id="a layout fits some sizes",
        ),
    ],
)
def test_with_how_few_it_may_start(spec: dict[str, Any], least: str | None) -> None:
    found = kueue.build_annotations(make(**spec), 4)
    assert found.get("kueue.x-k8s.io/job-min-parallelism") == least
    assert found.get("kueue.x-k8s.io/job-completions-equal-parallelism") == (least and "true")


def test_the_flavor_places_the_gang() -> None:
    built = pod.build_template(make(), 2, None, builders.make_pool(), 1)["spec"]
    assert "nodeSelector" not in built
    assert "nodeSelector" in pod.build_template(make(queue=None), 2, None, builders.make_pool(), 1)["spec"]


def queued(*, suspend: bool) -> Any:
    attempt = make_attempt(1)
    attempt.body["spec"]["suspend"] = suspend
    return attempt


def test_what_the_queue_wrote_stays() -> None:
    waits = decide(make(), children=(queued(suspend=True),))
    assert [one["kind"] for one in waits.apply] == ["Service"]
    [found] = [one for one in waits.status["conditions"] if one["type"] == "Succeeded"]
    assert (found["status"], found["reason"]) == ("Unknown", reasons.AWAITING_QUEUE)
    runs = decide(make(), children=(queued(suspend=False),))
    assert [one["kind"] for one in runs.apply] == ["Service"]


def test_workers_that_the_queue_takes_back_are_no_failure() -> None:
    taken = make_worker("llm-1-0", phase="Running", deleting=True, interrupted=builders.deleted())
    decided = decide(make(), children=(queued(suspend=True),), pods=(taken,))
    assert not decided.status.get("history")
