"""Whole lives of a job: every order in which workers end, Jobs vanish and operators die half-way."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from hypothesis import settings as how
from hypothesis import stateful
from hypothesis import strategies as st

from gpufleet import settings
from gpufleet.api import reasons, training_job
from gpufleet.decide.training import job as jobs
from gpufleet.state import children, decision, fleet, view
from tests import builders
from tests.builders import NOW

DEFAULTS = settings.Settings()
WORKERS = 2
RESTARTS = st.integers(0, 3)
AGES = st.integers(0, 1)
"""Attempts started since; the newest has age 0."""


@dataclasses.dataclass
class Attempt:
    """A Job as its controller sees it; `ended` is its terminal condition, once it has one."""

    ended: str = ""
    has_pods: bool = False
    is_gone: bool = False


@dataclasses.dataclass
class Worker:
    """A pod; it holds its devices until it is terminal or gone."""

    phase: fleet.PodPhase = "Pending"
    deleting: bool = False

    @property
    def is_terminal(self) -> bool:
        return self.phase in ("Succeeded", "Failed")


class Cluster:
    """What the API server, the Job controller and the kubelet would do, one step at a time."""

    def __init__(self) -> None:
        self.attempts: dict[int, Attempt] = {}
        self.workers: dict[tuple[int, int], Worker] = {}
        self.has_service = False
        self.status: Mapping[str, Any] = {}
        self.assignment: dict[str, Any] | None = {"workers": WORKERS, "requested": "none"}

    @property
    def newest(self) -> int:
        return max(self.attempts, default=0)

    @property
    def jobs(self) -> dict[int, Attempt]:
        return {number: attempt for number, attempt in self.attempts.items() if not attempt.is_gone}

    def holding(self) -> set[int]:
        """Attempts with a worker that may still compute."""
        return {number for (number, _), worker in self.workers.items() if not worker.is_terminal}

    def show(self, restarts: int) -> view.JobView:
        given = {"assignment": self.assignment} if self.assignment else {}
        job = builders.make_job(
            workers={"max": WORKERS},
            failurePolicy={"maxRestarts": restarts},
            status={**self.status, **given},
            created_s=-60.0,
        )
        service = (builders.make_child("Service", "llm"),) if self.has_service else ()
        return builders.make_job_view(job, children=(*service, *self._show_jobs()), pods=self._show_pods())

    def _show_jobs(self) -> tuple[children.Child, ...]:
        return tuple(
            builders.make_attempt(number, attempt.ended, workers=WORKERS)
            for number, attempt in self.jobs.items()
        )

    def _show_pods(self) -> tuple[fleet.Pod, ...]:
        return tuple(
            builders.make_worker(
                f"llm-{number}-{index}", attempt=number, phase=worker.phase, deleting=worker.deleting
            )
            for (number, index), worker in self.workers.items()
        )


class Life(stateful.RuleBasedStateMachine):
    """An operator that may die after any of its writes; a cluster that may be late with all of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster()
        self.restarts = self.most_restarts = 0
        self.has_said_complete = False

    @stateful.initialize(restarts=RESTARTS)
    def create(self, restarts: int) -> None:
        self.restarts = self.most_restarts = restarts

    @stateful.rule(writes=st.integers(0, 4))
    def reconcile(self, writes: int) -> None:
        """One pass of an operator that lives for so many writes, children before status."""
        shown = self.cluster.show(self.restarts)
        decided = jobs.decide(shown, DEFAULTS, NOW)
        assert decided == jobs.decide(shown, DEFAULTS, NOW)
        for manifest in decided.apply[:writes]:
            self._apply(manifest)
        if writes < len(decided.apply):
            return
        self._prune(decided)
        if writes > len(decided.apply):
            self.cluster.status = decided.status
            self.has_said_complete |= self._reason() == reasons.COMPLETED
            training_job.TrainingJobStatus.model_validate(decided.status)

    def _apply(self, manifest: Mapping[str, Any]) -> None:
        if manifest["kind"] == "Service":
            self.cluster.has_service = True
            return
        number = int(manifest["metadata"]["name"].rpartition("-")[2])
        if number in self.cluster.jobs:
            return
        assert not self.has_said_complete, "a job that has succeeded starts nothing"
        assert all(one.ended == "Failed" for one in self.cluster.jobs.values()), "one attempt at a time"
        assert self.cluster.holding() == set(), "no worker of another gang computes any more"
        self.cluster.attempts[number] = Attempt()

    def _prune(self, decided: decision.Decision) -> None:
        applied = {children.ChildRef(one["kind"], one["metadata"]["name"]) for one in decided.apply}
        for number, attempt in self.cluster.jobs.items():
            if children.ChildRef("Job", f"llm-{number}") not in decided.keep | applied:
                assert attempt.ended == "Failed", "only logs of old failures may go"
                assert number <= max(self.cluster.jobs) - jobs.KEPT_ATTEMPTS
                attempt.is_gone = True

    def _reason(self) -> str:
        listed = self.cluster.status.get("conditions", ())
        return next((str(one["reason"]) for one in listed if one["type"] == reasons.SUCCEEDED), "")

    @stateful.rule(age=AGES)
    def start_workers(self, age: int) -> None:
        number = self.cluster.newest - age
        attempt = self.cluster.jobs.get(number)
        if attempt and not attempt.ended and not attempt.has_pods:
            attempt.has_pods = True
            self.cluster.workers |= {(number, index): Worker() for index in range(WORKERS)}

    @stateful.rule(
        age=AGES,
        index=st.integers(0, WORKERS - 1),
        phase=st.sampled_from(["Running", "Succeeded", "Failed"]),
    )
    def move_worker(self, age: int, index: int, phase: fleet.PodPhase) -> None:
        worker = self.cluster.workers.get((self.cluster.newest - age, index))
        if worker and not worker.is_terminal:
            worker.phase = phase

    @stateful.rule(age=AGES)
    def end_job(self, age: int) -> None:
        """A failed worker fails the Job, whose other workers are told to end; they may take their time."""
        number = self.cluster.newest - age
        attempt = self.cluster.jobs.get(number)
        mine = [worker for (owner, _), worker in self.cluster.workers.items() if owner == number]
        if attempt is None or attempt.ended or not mine:
            return
        if any(worker.phase == "Failed" for worker in mine):
            attempt.ended = "Failed"
            for worker in mine:
                worker.deleting = not worker.is_terminal
        elif all(worker.phase == "Succeeded" for worker in mine):
            attempt.ended = "Complete"

    @stateful.rule(age=AGES)
    def delete_job(self, age: int) -> None:
        """By hand; the garbage collector then deletes its workers."""
        number = self.cluster.newest - age
        if number in self.cluster.jobs:
            self.cluster.jobs[number].is_gone = True
            for (owner, _), worker in self.cluster.workers.items():
                worker.deleting |= owner == number

    @stateful.rule()
    def collect_workers(self) -> None:
        """What was told to end has ended."""
        self.cluster.workers = {key: one for key, one in self.cluster.workers.items() if not one.deleting}

    @stateful.rule(assignment=st.sampled_from([None, {"workers": 0, "requested": "none"}]))
    def lose_assignment(self, assignment: dict[str, Any] | None) -> None:
        self.cluster.assignment = assignment

    @stateful.rule()
    def admit(self) -> None:
        self.cluster.assignment = {"workers": WORKERS, "requested": "none"}

    @stateful.rule(restarts=RESTARTS)
    def change_policy(self, restarts: int) -> None:
        self.restarts = restarts
        self.most_restarts = max(self.most_restarts, restarts)

    @stateful.invariant()
    def no_attempt_too_many(self) -> None:
        assert len(self.cluster.attempts) <= self.most_restarts + 1
        assert sorted(self.cluster.attempts) == list(range(1, len(self.cluster.attempts) + 1))

    @stateful.invariant()
    def one_gang_at_a_time(self) -> None:
        assert len(self.cluster.holding()) <= 1

    @stateful.invariant()
    def what_was_said_is_not_said_again(self) -> None:
        """Nothing to create, nothing new: the pass after a whole pass tells no Event and the same status."""
        before = self.cluster.show(self.restarts)
        first = jobs.decide(before, DEFAULTS, NOW)
        if any(one["kind"] == "Job" for one in first.apply):
            return
        status = {
            **first.status,
            **({"assignment": self.cluster.assignment} if self.cluster.assignment else {}),
        }
        told = before.job.model_copy(update={"status": training_job.TrainingJobStatus.model_validate(status)})
        second = jobs.decide(dataclasses.replace(before, job=told), DEFAULTS, NOW)
        assert (second.status, second.events) == (first.status, ())


TestLife = Life.TestCase
TestLife.settings = how(max_examples=80, stateful_step_count=40, deadline=None)
