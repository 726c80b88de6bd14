from __future__ import annotations

import dataclasses
import datetime
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet.api import reasons, training_gang, training_job
from gpufleet.decide.placement import assign, brakes
from gpufleet.decide.placement.gangs import victims as finding
from gpufleet.state import assignment, fleet, names
from tests import builders
from tests.builders import GPU, NOW, make_worker
from tests.unit.gpufleet.decide.placement.gangs.test_admission import (
    NODES,
    POOL,
    PRIORITIES,
    gang,
    places,
    put,
)

ACTIVE = brakes.Limits(preemption="Active", minimum_runtime_s=600.0)
HOUR_S = 3600.0


def ago(seconds: float) -> str:
    return (NOW - datetime.timedelta(seconds=seconds)).isoformat()


def running(
    name: str, *nodes: str, saved_s: float = 0.0, ran_s: float = HOUR_S, **spec: Any
) -> tuple[training_job.TrainingJob, list[fleet.Pod]]:
    """A gang of one worker on each of these nodes, with a checkpoint from so long ago."""
    told = {"step": 1, "checkpointTime": ago(saved_s), "reportedAt": ago(saved_s)}
    status = {**put(len(nodes), 8, **dict.fromkeys(nodes, 1)), "attempt": 1}
    size = {"max": len(nodes), **spec.pop("workers", {})}
    job = gang(name, status={**status, **({"progress": told} if saved_s else {})}, **spec)
    job = job.model_copy(update={"spec": job.spec.model_copy(update={"workers": size_of(size)})})
    pods = [
        make_worker(
            f"{name}-1-{index}",
            name,
            node=node,
            phase="Running",
            requests={GPU: 8},
            created_s=NOW.timestamp() - ran_s,
        )
        for index, node in enumerate(nodes)
    ]
    labelled = [with_index(pod, index) for index, pod in enumerate(pods)]
    return job, labelled


def size_of(size: dict[str, int]) -> Any:
    return training_gang.Workers.model_validate(size)


def with_index(pod: fleet.Pod, index: int) -> fleet.Pod:
    labels = {**pod.labels, names.COMPLETION_INDEX_ANNOTATION: str(index)}
    return dataclasses.replace(pod, labels=labels)


def decide(
    others: Iterable[tuple[training_job.TrainingJob, list[fleet.Pod]]],
    *waiting: training_job.TrainingJob,
    limits: brakes.Limits = ACTIVE,
    nodes: Any = NODES[:4],
) -> dict[str, assignment.Assignment]:
    others = list(others)
    view = builders.make_snapshot(
        nodes,
        [pod for _, pods in others for pod in pods],
        pools=[POOL],
        jobs=[*(job for job, _ in others), *waiting],
        priorities=PRIORITIES,
        live_workers={job.metadata.uid: len(pods) for job, pods in others},
    )
    return {one.name: one for one in assign.assign(view, {}, NOW, limits)}


def sizes(found: dict[str, assignment.Assignment]) -> dict[str, int]:
    return {name: one.value["workers"] for name, one in found.items()}


FULL = [
    running("a", "n0", "n1", saved_s=500.0),
    running("b", "n2", saved_s=50.0),
    running("c", "n3", saved_s=60.0),
]
URGENT = gang("urgent", workers=1, priorityClassName="high")


@pytest.mark.parametrize(
    ("others", "waiting", "expected"),
    [
        pytest.param(FULL, URGENT, {"b": 0}, id="who loses least"),
        pytest.param(
            FULL, gang("urgent", workers=2, priorityClassName="high"), {"b": 0, "c": 0}, id="two of them"
        ),
        pytest.param(
            [*FULL[:2], running("c", "n3", saved_s=5.0)],
            gang("urgent", workers=2, priorityClassName="high", topology={"required": "rack"}),
            {"b": 0, "c": 0},
            id="of one rack",
        ),
        pytest.param(FULL, gang("urgent", workers=1), {}, id="nobody is less urgent"),
        pytest.param(
            FULL, gang("urgent", workers=5, priorityClassName="high"), {}, id="all would not be enough"
        ),
        pytest.param(
            [running("a", "n0", "n1", saved_s=9000.0, workers={"min": 1}), *FULL[1:]],
            URGENT,
            {"a": 1},
            id="elastic ones shrink first",
        ),
        pytest.param(
            [running("a", "n0", "n1", saved_s=3000.0, workers={"min": 1}), *FULL[1:]],
            gang("urgent", workers=2, priorityClassName="high"),
            {"a": 1, "b": 0},
            id="then whole gangs go",
        ),
        pytest.param(
            [running("b", "n2", ran_s=599.0), *FULL[:1], FULL[2]], URGENT, {"c": 0}, id="not at once"
        ),
        pytest.param(
            [running("a", "n0", "n1", saved_s=9.0), running("b", "n2", saved_s=10.0), FULL[2]],
            gang("urgent", workers=1, priorityClassName="high"),
            {"b": 0},
            id="GPUs count too",
        ),
    ],
)
def test_who_gives_way(others: Any, waiting: training_job.TrainingJob, expected: dict[str, int]) -> None:
    found = decide(others, waiting)
    told = found.pop("urgent").value
    assert sizes(found) == expected
    assert told["workers"] == 0
    assert told["reason"] == (reasons.AWAITING_PREEMPTION if expected else told["reason"])


def test_what_is_taken_is_told_and_only_taken_if_nothing_has_changed() -> None:
    found = decide(FULL, URGENT)
    victim = found["b"]
    assert next(iter(found)) == "b", "it is taken before it is given"
    assert victim.value["reason"] == reasons.PREEMPTED
    assert "default/urgent" in victim.value["message"]
    assert "400 GPU-seconds" in victim.value["message"]
    assert victim.resource_version == FULL[1][0].metadata.resource_version
    assert places(found["urgent"].value) == {"n2": 1}


def test_advisory_takes_nothing_and_says_so() -> None:
    found = decide(FULL, URGENT, limits=brakes.NONE)
    assert sizes(found) == {"urgent": 0}
    assert "training.preemption is Advisory" in found["urgent"].value["message"]


@pytest.mark.parametrize(
    ("gpus", "spent", "expected"),
    [
        pytest.param(8.0, 0, {"b": 0, "urgent": 0}, id="enough"),
        pytest.param(7.0, 0, {"urgent": 0}, id="too little"),
        pytest.param(16.0, 2, {"urgent": 0}, id="spent within the hour"),
    ],
)
def test_the_disruption_budget(gpus: float, spent: int, expected: dict[str, int]) -> None:
    limits = brakes.Limits(disruption_gpus_per_hour=gpus, preemption="Active")
    record = {"attempt": 1, "endedBy": "Preempted", "workers": spent, "endTime": ago(60.0)}
    given_ = {**put(0, 8)["assignment"], "reason": "InsufficientCapacity"}
    gone = gang("gone", workers=9, status={"assignment": given_, "history": [record]})
    found = decide(FULL, URGENT, gone, limits=limits)
    found.pop("gone", None)
    assert sizes(found) == expected


def follow(
    found: dict[str, assignment.Assignment], job: training_job.TrainingJob
) -> training_job.TrainingJob:
    status = job.status.to_wire() | (
        {"assignment": found[job.metadata.name].value} if job.metadata.name in found else {}
    )
    return job.model_copy(update={"status": training_job.TrainingJobStatus.model_validate(status)})


def test_freed_nodes_are_kept_until_they_are_free() -> None:
    """Another gang of the same urgency comes, and the victim's pods take their time."""
    first = decide(FULL, URGENT)
    others = [(follow(first, job), pods) for job, pods in FULL]
    urgent, late = follow(first, URGENT), gang("late", workers=1, priorityClassName="high", created_s=5.0)
    second = decide(others, urgent, late, limits=brakes.NONE)
    assert sizes(second) == {"late": 0}
    ending = [
        (job, [dataclasses.replace(pod, deleting=True) for pod in pods] if job.metadata.name == "b" else pods)
        for job, pods in others
    ]
    assert sizes(decide(ending, urgent, late, limits=brakes.NONE)) == {"late": 0}
    gone = [(job, pods) for job, pods in others if job.metadata.name != "b"]
    third = decide(gone, urgent, late, limits=brakes.NONE)
    assert sizes(third) == {"urgent": 1, "late": 0}


def test_a_promise_that_can_no_longer_be_kept_is_made_anew() -> None:
    first = decide(FULL, URGENT)
    others = [(follow(first, job), pods) for job, pods in FULL]
    lost = [dataclasses.replace(node, ready=node.name != "n2") for node in NODES[:4]]
    second = decide(others, follow(first, URGENT), nodes=lost)
    assert sizes(second) == {"c": 0, "urgent": 0}
    assert places(second["urgent"].value) == {"n3": 1}


def victim(number: int, freed: dict[str, int], stay: int = 0) -> finding.Victim:
    job = gang(f"v{number}", status=put(2, 8, n0=2))
    return finding.Victim(job, stay, freed, float(sum(freed.values())), 0.0)


FREED = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 8), min_size=1, max_size=3)


@given(st.lists(FREED, max_size=7), st.dictionaries(st.sampled_from("abcd"), st.integers(1, 12), min_size=1))
def test_no_victim_could_have_stayed(all_freed: list[dict[str, int]], wanted: dict[str, int]) -> None:
    candidates = [victim(number, freed) for number, freed in enumerate(all_freed)]

    def fits(freed: Any) -> bool:
        return all(freed.get(name, 0) >= units for name, units in wanted.items())

    chosen = finding.choose(candidates, fits)
    assert (chosen is not None) == fits(sum((Counter(one) for one in all_freed), Counter[str]()))
    if chosen is None:
        return
    assert fits(finding.sum_freed(chosen))
    for one in chosen:
        assert not fits(finding.sum_freed([other for other in chosen if other is not one]))
