"""What follows for an attempt from another assignment: another size, or its end."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gpufleet import settings
from gpufleet.api import reasons
from gpufleet.decide.training import job as jobs
from gpufleet.state import children, decision, names
from tests import builders
from tests.builders import NOW, make_attempt, make_worker

ELASTIC = {"framework": "Torch", "torch": {"rendezvous": "Elastic"}}
PLACED = {"levels": ["metadata.name"], "domains": [{"values": ["n0"], "workers": 4}]}
NEWEST = children.ChildRef("Job", "llm-1")


def decide(
    assignment: dict[str, Any] | None, *, job_size: int = 4, pods: int = 4, **spec: Any
) -> decision.Decision:
    given = {"assignment": {"requested": "none", **assignment}} if assignment else {}
    size = {"workers": {"min": 1, "max": 8}}
    job = builders.make_job(status={"attempt": 1, **given}, created_s=-60.0, **{**size, **spec})
    workers = tuple(
        make_worker(
            f"llm-1-{index}",
            phase="Running",
            node="n0",
            deleting=index >= job_size,
            interrupted=builders.deleted() if index >= job_size else None,
        )
        for index in range(pods)
    )
    labelled = tuple(
        dataclasses.replace(pod, labels={**pod.labels, names.COMPLETION_INDEX_ANNOTATION: str(index)})
        for index, pod in enumerate(workers)
    )
    shown = make_attempt(1, workers=job_size)
    return jobs.decide(
        builders.make_job_view(job, children=(shown,), pods=labelled), settings.Settings(), NOW
    )


def ended_by(decided: decision.Decision) -> str:
    history = decided.status.get("history", [])
    return str(history[0]["endedBy"]) if history else ""


TAKEN = {"workers": 0, "reason": reasons.PREEMPTED, "message": "its devices go to default/urgent"}


@pytest.mark.parametrize(
    ("assignment", "spec", "scale", "ended"),
    [
        pytest.param({"workers": 4}, {}, None, "", id="as assigned"),
        pytest.param(None, {}, None, "", id="an assignment that was lost"),
        pytest.param({"workers": 0}, {}, None, "", id="or is not made yet"),
        pytest.param({"workers": 2}, ELASTIC, 2, "", id="elastic: fewer"),
        pytest.param({"workers": 6}, ELASTIC, 6, "", id="elastic: more"),
        pytest.param({"workers": 2, "placement": PLACED}, ELASTIC, 2, "", id="elastic: fewer on its nodes"),
        pytest.param(
            {"workers": 6, "placement": PLACED}, ELASTIC, None, "Resized", id="more, on other nodes"
        ),
        pytest.param({"workers": 2}, {}, None, "Resized", id="a size that workers are told"),
        pytest.param(
            {"workers": 5}, {"parallelism": {"pipeline": 2}}, None, "", id="the layout fits no other"
        ),
        pytest.param(TAKEN, {}, None, "Preempted", id="ended for another"),
        pytest.param({**TAKEN, "reason": reasons.PLACES_LOST}, ELASTIC, None, "PlacesLost", id="places lost"),
        pytest.param(
            TAKEN,
            {"queue": {"kind": "LocalQueue", "name": "team"}},
            None,
            "",
            id="a queue's gang is not ours",
        ),
    ],
)
def test_what_follows(assignment: Any, spec: dict[str, Any], scale: int | None, ended: str) -> None:
    decided = decide(assignment, **spec)
    assert decided.scale == ({} if scale is None else {NEWEST: scale})
    assert ended_by(decided) == ended
    assert sum((decided.status.get("failures") or {}).values()) == 0


def test_a_gang_that_was_taken_from_says_for_whom() -> None:
    decided = decide(TAKEN)
    [said] = [one for one in decided.status["conditions"] if one["type"] == "Succeeded"]
    assert (said["status"], said["reason"]) == ("Unknown", "Preempted")
    assert "default/urgent" in said["message"]


def test_workers_that_go_as_it_shrinks_have_not_failed() -> None:
    decided = decide({"workers": 2}, job_size=2, pods=4, **ELASTIC)
    assert (ended_by(decided), decided.scale) == ("", {})


def test_pods_that_wait_for_nodes_of_others_start_again() -> None:
    """The gang was moved just as its Job was made."""
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}
    job = builders.make_job(
        status={"attempt": 1, "assignment": {"workers": 2, "requested": "none", "placement": PLACED}},
        created_s=-60.0,
    )
    made = make_attempt(1)
    spec = {**made.body["spec"], "template": {"spec": {"affinity": affinity}}}
    made = dataclasses.replace(made, body={**made.body, "spec": spec})
    pods = (make_worker("llm-1-0"), make_worker("llm-1-1", node="n1", phase="Running"))
    decided = jobs.decide(builders.make_job_view(job, children=(made,), pods=pods), settings.Settings(), NOW)
    assert ended_by(decided) == "PlacesLost"


def test_a_gang_that_starts_again_at_another_size_says_so_meanwhile() -> None:
    decided = decide({"workers": 2, "reason": reasons.SHRUNK, "message": "2 of its workers go"})
    [record] = decided.status["history"]
    assert record["message"] == "from 4 workers to 2: 2 of its workers go"
    given = {"workers": 2, "requested": "none"}
    ended = builders.make_job(status={**decided.status, "assignment": given}, workers={"min": 1, "max": 8})
    left = (make_worker("llm-1-0", phase="Running", node="n0", deleting=True),)
    after = jobs.decide(builders.make_job_view(ended, pods=left), settings.Settings(), NOW)
    [said] = [one for one in after.status["conditions"] if one["type"] == "Succeeded"]
    assert said["reason"] == "Restarting"
    assert said["message"].startswith("attempt 1 was resized from 4 workers to 2")
