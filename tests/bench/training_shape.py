"""Kueue's baseline shape on the fleet cycle's pure part: 15,000 gangs of three classes on a virtual clock.

The numbers are those of Kueue's test/performance/scheduler/configs/baseline/generator.yaml: 30 queues with
room for 20 each, here one fleet of 600 devices without borrowing.
"""

from __future__ import annotations

import dataclasses
import datetime
import heapq
import time
from collections import defaultdict
from typing import Any

from gpufleet.api import meta, training_job
from gpufleet.decide.placement import assign, brakes
from gpufleet.decide.placement.gangs import lines
from gpufleet.state import fleet, names, snapshot
from tests import builders
from tests.builders import GPU, NOW

QUEUES, DEVICES, PASS_S = 30, 600, 0.2


@dataclasses.dataclass(frozen=True)
class Shape:
    """One class: how many of it in each queue, devices, runtime, priority, time between arrivals."""

    name: str
    count: int
    devices: int
    runs_s: float
    priority: int
    every_s: float


CLASSES = (
    Shape("small", 350, 1, 0.2, 50, 0.1),
    Shape("medium", 100, 5, 0.5, 100, 0.5),
    Shape("large", 50, 20, 1.0, 200, 1.2),
)


@dataclasses.dataclass(frozen=True)
class Arrival:
    """One gang, and when it comes after the first."""

    at_s: float
    name: str
    shape: Shape


@dataclasses.dataclass
class Outcome:
    """What a run has taken; waits are means by class, of the virtual clock."""

    decisions: int
    decide_s: float
    virtual_s: float
    passes: int
    slowest_pass_s: float
    waits_s: dict[str, float]
    longest_waits_s: dict[str, float]


def run() -> Outcome:
    """Until all gangs have run. They stay as objects when they have ended, as TrainingJobs do."""
    arrivals = [(one.at_s, _build_job(one)) for one in list_arrivals(QUEUES)]
    nodes = tuple(builders.make_node(f"n{number:03}", {GPU: 8}, pool="") for number in range(DEVICES // 8))
    jobs: dict[str, training_job.TrainingJob] = {}
    pods: dict[str, list[fleet.Pod]] = {}
    free = {node.name: 8 for node in nodes}
    ends: list[tuple[float, str]] = []
    waits: dict[str, list[float]] = defaultdict(list)
    at_s, spent_s, slowest_s, passes, position = 0.0, 0.0, 0.0, 0, 0
    priorities = {one.name: one.priority for one in CLASSES} | {"": 0}
    kept = lines.Lines()
    done = meta.Condition.model_validate(builders.make_condition("Succeeded", "True", "Completed").to_wire())
    while position < len(arrivals) or ends or len(pods) < len(jobs):
        while position < len(arrivals) and arrivals[position][0] <= at_s:
            job = arrivals[position][1]
            jobs[job.metadata.name] = job
            position += 1
        while ends and ends[0][0] <= at_s:
            _, name = heapq.heappop(ends)
            for pod in pods[name]:
                free[pod.node] += 1
            pods[name] = []
            jobs[name] = _with_status(jobs[name], conditions=[done])
        view = snapshot.Snapshot(
            nodes=nodes,
            pods=tuple(pod for held in pods.values() for pod in held),
            jobs=tuple(jobs.values()),
            priorities=priorities,
        )
        started_s = time.process_time()
        plan = assign.plan(view, {}, NOW + datetime.timedelta(seconds=at_s), brakes.NONE, kept=kept)
        took_s = time.process_time() - started_s
        spent_s, slowest_s, passes = spent_s + took_s, max(slowest_s, took_s), passes + 1
        for one in plan.assignments:
            given = training_job.JobAssignment.model_validate(one.value)
            jobs[one.name] = _with_status(jobs[one.name], assignment=given)
            if given.workers:
                pods[one.name] = list(_bind(one.name, given.workers, free))
                shape = jobs[one.name].spec.priority_class_name or ""
                waits[shape].append(at_s - _created_s(jobs[one.name]))
                runs_s = next(one.runs_s for one in CLASSES if one.name == shape)
                heapq.heappush(ends, (at_s + runs_s, one.name))
        at_s += PASS_S
    assert all(units == 8 for units in free.values())
    return Outcome(
        decisions=sum(map(len, waits.values())),
        decide_s=spent_s,
        virtual_s=at_s,
        passes=passes,
        slowest_pass_s=slowest_s,
        waits_s={name: sum(found) / len(found) for name, found in waits.items()},
        longest_waits_s={name: max(found) for name, found in waits.items()},
    )


def list_arrivals(queues: int) -> list[Arrival]:
    """All gangs, the first to come first."""
    found = [
        Arrival(number * shape.every_s, f"{shape.name}-{number:03}-{queue:02}", shape)
        for shape in CLASSES
        for number in range(shape.count)
        for queue in range(queues)
    ]
    return sorted(found, key=lambda one: one.at_s)


def build_spec(shape: Shape) -> dict[str, Any]:
    """What such a gang asks for."""
    return {
        "workers": {"max": shape.devices},
        "accelerator": {"count": 1},
        "priorityClassName": shape.name,
    }


def _build_job(one: Arrival) -> training_job.TrainingJob:
    return builders.make_job(one.name, created_s=one.at_s, **build_spec(one.shape))


def _created_s(job: training_job.TrainingJob) -> float:
    created = job.metadata.creation_timestamp
    return (created - NOW).total_seconds() if created else 0.0


def _with_status(job: training_job.TrainingJob, **status: object) -> training_job.TrainingJob:
    return job.model_copy(update={"status": job.status.model_copy(update=status)})


def _bind(name: str, workers: int, free: dict[str, int]) -> list[fleet.Pod]:
    """Any node with room; the cycle has counted."""
    made = []
    for node in free:
        while free[node] and len(made) < workers:
            free[node] -= 1
            made.append(
                builders.make_pod(
                    f"{name}-{len(made)}",
                    labels={names.JOB_LABEL: name, names.ATTEMPT_LABEL: "1"},
                    node=node,
                    phase="Running",
                    requests={GPU: 1},
                )
            )
    assert len(made) == workers, "a gang is half there"
    return made
