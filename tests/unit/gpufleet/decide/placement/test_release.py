from __future__ import annotations

from typing import Any

import pytest

from gpufleet.api import reasons, training_job
from gpufleet.decide.placement import assign, release
from tests import builders
from tests.builders import GPU, NOW, make_job, make_node

ASSIGNED = {"workers": 2, "requested": "count=8", "accelerator": {"resource": GPU, "count": 8}}
QUEUE = {"kind": "LocalQueue", "name": "team"}
DONE = [builders.make_condition("Succeeded", "True").to_wire()]


def given(*jobs: training_job.TrainingJob, nodes: int = 2) -> dict[str, dict[str, Any]]:
    view = builders.make_snapshot([make_node(f"n{index}") for index in range(nodes)], jobs=jobs)
    ours = assign.assign(view, {}, NOW)
    return {one.name: dict(one.value) for one in (*release.assign(view), *ours)}


def make(name: str, assignment: Any = None, **spec: Any) -> training_job.TrainingJob:
    status = {"assignment": assignment} if assignment else {}
    status |= {"conditions": spec.pop("conditions", [])}
    return make_job(name, status=status, accelerator={"count": 8}, **spec)


@pytest.mark.parametrize(
    ("job", "workers"),
    [
        pytest.param(make("a"), 2, id="the cycle's"),
        pytest.param(make("a", ASSIGNED), None, id="admitted"),
        pytest.param(make("a", suspend=True), None, id="suspended before it was looked at"),
        pytest.param(make("a", ASSIGNED, suspend=True), 0, id="suspended"),
        pytest.param(make("a", {**ASSIGNED, "workers": 0}, suspend=True), None, id="suspended already"),
        pytest.param(make("a", ASSIGNED, suspend=True, conditions=DONE), None, id="suspended after its end"),
        pytest.param(make("a", queue=QUEUE), 2, id="a queue's"),
        pytest.param(make("a", queue=QUEUE, workers={"max": 9}), 9, id="a queue's, larger than the fleet"),
        pytest.param(make("a", ASSIGNED, queue=QUEUE), None, id="a queue's, handed over"),
        pytest.param(make("a", managedBy="kueue.x-k8s.io/multikueue"), None, id="another manager's"),
    ],
)
def test_who_gives_a_gang_its_place(job: training_job.TrainingJob, workers: int | None) -> None:
    found = given(job)
    assert (found["a"]["workers"] if "a" in found else None) == workers


def test_a_place_that_is_given_back_is_another_gangs() -> None:
    suspended, waiting = make("a", ASSIGNED, suspend=True), make("b")
    assert {name: value["workers"] for name, value in given(suspended, waiting).items()} == {"a": 0, "b": 2}


def test_a_gang_that_resumes_needs_room() -> None:
    resumed, other = make("a", {"workers": 0, "requested": "count=8"}), make("b", ASSIGNED)
    assert given(resumed, other)["a"]["reason"] == reasons.INSUFFICIENT_CAPACITY


def test_what_no_node_offers_is_said_to_a_queues_gang_too() -> None:
    job = make_job("a", queue=QUEUE, accelerator={"class": "h1000"})
    assert given(job)["a"]["reason"] == reasons.UNKNOWN_DEVICE_CLASS
