"""Whole lives of a job: every order in which workers end, Jobs vanish and operators die half-way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from gpufleet import settings
from gpufleet.api import reasons, training_job
from gpufleet.decide.training import job as jobs
from gpufleet.state import children, decision, fleet, view
from tests import builders
from tests.builders import NOW

DEFAULTS = settings.Settings()
WORKERS = 2
ADMITTED = {"workers": WORKERS, "requested": "none"}


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
    interrupted: fleet.Interruption | None = None

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
        self.assignment: dict[str, Any] | None = ADMITTED

    @property
    def newest(self) -> int:
        return max(self.attempts, default=0)

    @property
    def jobs(self) -> dict[int, Attempt]:
        return {number: attempt for number, attempt in self.attempts.items() if not attempt.is_gone}

    @property
    def running(self) -> list[Worker]:
        """Workers of the newest attempt that have not ended."""
        newest = self.newest
        return [one for (number, _), one in self.workers.items() if number == newest and not one.is_terminal]

    @property
    def startable(self) -> bool:
        newest = self.jobs.get(self.newest)
        return newest is not None and not newest.has_pods and not newest.ended

    @property
    def completable(self) -> bool:
        newest = self.jobs.get(self.newest)
        phases = {one.phase for (number, _), one in self.workers.items() if number == self.newest}
        return newest is not None and newest.has_pods and not newest.ended and phases == {"Succeeded"}

    def start_workers(self, count: int) -> None:
        self.attempts[self.newest].has_pods = True
        self.workers |= {(self.newest, index): Worker() for index in range(count)}

    def holding(self) -> set[int]:
        """Attempts with a worker that may still compute."""
        return {number for (number, _), worker in self.workers.items() if not worker.is_terminal}

    def show(self, restarts: int, *, suspend: bool) -> view.JobView:
        given = {"assignment": self.assignment} if self.assignment else {}
        job = builders.make_job(
            workers={"max": WORKERS},
            failurePolicy={"maxRestarts": restarts, "backoffSeconds": 0},
            suspend=suspend,
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
                f"llm-{number}-{index}",
                attempt=number,
                phase=worker.phase,
                deleting=worker.deleting,
                interrupted=worker.interrupted,
            )
            for (number, index), worker in self.workers.items()
        )


class Life:
    """An operator that may die after any of its writes; a cluster that may be late with all of its own."""

    def __init__(self, restarts: int) -> None:
        self.cluster = Cluster()
        self.restarts = self.most_restarts = restarts
        self.has_said_complete = False
        self.suspend = False
        self.disturbed = 0
        """How often the cluster or its owner ended an attempt."""

    def show(self) -> view.JobView:
        return self.cluster.show(self.restarts, suspend=self.suspend)

    def possible(self) -> list[Callable[[int], None]]:
        """What may happen next; what moves a life on is more likely than what disturbs it."""
        cluster = self.cluster
        steps = [self.reconcile] * 4 + [self.reconcile_and_die, self.change_policy]
        steps += [self.start_workers] * 4 if cluster.startable else []
        steps += [self.end_workers, self.fail_worker, self.fail_worker] if cluster.running else []
        steps += [self.evict_worker] if cluster.running else []
        steps += [self.resume] * 4 if self.suspend else [self.set_suspend]
        steps += [self.complete_job] * 4 if cluster.completable else []
        steps += [self.delete_job] if cluster.jobs else []
        steps += [self.collect_workers] * 2 if any(one.deleting for one in cluster.workers.values()) else []
        steps += [self.lose_assignment] if cluster.assignment == ADMITTED else [self.admit] * 4
        return steps

    def check(self) -> None:
        """What holds at any moment."""
        assert sorted(self.cluster.attempts) == list(range(1, len(self.cluster.attempts) + 1))
        assert len(self.cluster.attempts) <= self.most_restarts + 1 + self.disturbed
        assert len(self.cluster.holding()) <= 1, "two gangs at the same time"
        self._check_rest()

    def _check_rest(self) -> None:
        """Where nothing is to be created, the next pass finds nothing to say."""
        before = self.show()
        first = jobs.decide(before, DEFAULTS, NOW)
        assert first == jobs.decide(before, DEFAULTS, NOW)
        if any(one["kind"] == "Job" for one in first.apply):
            return
        if len(first.status.get("history", ())) > len(before.job.status.history):
            return
        given_ = {"assignment": self.cluster.assignment} if self.cluster.assignment else {}
        status = training_job.TrainingJobStatus.model_validate({**first.status, **given_})
        told = before.job.model_copy(update={"status": status})
        second = jobs.decide(dataclasses.replace(before, job=told), DEFAULTS, NOW)
        assert (second.status, second.events) == (first.status, ())

    def reconcile(self, _: int) -> None:
        self._reconcile(writes=99)

    def reconcile_and_die(self, choice: int) -> None:
        self._reconcile(writes=choice % 3)

    def _reconcile(self, writes: int) -> None:
        """One pass of an operator that lives for so many writes, children before status."""
        decided = jobs.decide(self.show(), DEFAULTS, NOW)
        for manifest in decided.apply[:writes]:
            self._apply(manifest)
        if writes < len(decided.apply):
            return
        self._prune(decided)
        if writes > len(decided.apply):
            assert decided.status.get("attempt", 0) >= self.cluster.status.get("attempt", 0)
            self.cluster.status = decided.status
            self.has_said_complete |= self.reason() == reasons.COMPLETED

    def _apply(self, manifest: Mapping[str, Any]) -> None:
        if manifest["kind"] == "Service":
            self.cluster.has_service = True
            return
        number = int(manifest["metadata"]["name"].rpartition("-")[2])
        if number in self.cluster.jobs:
            return
        assert not self.has_said_complete, "a job that has succeeded starts nothing"
        assert number >= self.cluster.status.get("attempt", 0), "attempts are counted on"
        assert all(one.ended for one in self.cluster.jobs.values()), "one attempt at a time"
        assert not self.suspend, "what is suspended starts nothing"
        assert self.cluster.holding() == set(), "no worker of another gang computes any more"
        self.cluster.attempts[number] = Attempt()

    def _prune(self, decided: decision.Decision) -> None:
        applied = {children.ChildRef(one["kind"], one["metadata"]["name"]) for one in decided.apply}
        newest = max(self.cluster.jobs, default=0)
        for number, attempt in self.cluster.jobs.items():
            if children.ChildRef("Job", f"llm-{number}") not in decided.keep | applied:
                recorded = {one["attempt"] for one in self.cluster.status.get("history", ())}
                old = attempt.ended and number <= newest - jobs.KEPT_ATTEMPTS
                assert old or number in recorded, "only old logs, and what was recorded as ended, may go"
                self._remove(number)

    def reason(self) -> str:
        listed = self.cluster.status.get("conditions", ())
        return next((str(one["reason"]) for one in listed if one["type"] == reasons.SUCCEEDED), "")

    def start_workers(self, _: int) -> None:
        self.cluster.start_workers(WORKERS)

    def end_workers(self, choice: int) -> None:
        """Often they end well at the same time."""
        for worker in self.cluster.running[: 1 if choice == 0 else WORKERS]:
            worker.phase = "Succeeded"

    def fail_worker(self, choice: int) -> None:
        """It fails the Job, whose other workers are told to end; they may take their time."""
        self.cluster.running[choice % len(self.cluster.running)].phase = "Failed"
        for worker in self.cluster.running:
            worker.deleting = True
        if self.cluster.newest in self.cluster.jobs:
            self.cluster.jobs[self.cluster.newest].ended = "Failed"

    def evict_worker(self, choice: int) -> None:
        """It ends, often with exit code 0, which its Job takes for success."""
        worker = self.cluster.running[choice % len(self.cluster.running)]
        worker.interrupted = fleet.Interruption("EvictionByEvictionAPI", "2030-01-01T11:00:00Z")
        worker.phase, worker.deleting = ("Succeeded", "Failed", "Running")[choice % 3], True
        self.disturbed += 1

    def set_suspend(self, _: int) -> None:
        self.suspend = True
        self.disturbed += 1

    def resume(self, _: int) -> None:
        self.suspend = False

    def complete_job(self, _: int) -> None:
        self.cluster.jobs[self.cluster.newest].ended = "Complete"

    def delete_job(self, choice: int) -> None:
        """By hand; the garbage collector then deletes its workers."""
        self._remove(sorted(self.cluster.jobs)[choice % len(self.cluster.jobs)])

    def _remove(self, number: int) -> None:
        self.cluster.jobs[number].is_gone = True
        for (owner, _), worker in self.cluster.workers.items():
            worker.deleting |= owner == number

    def collect_workers(self, _: int) -> None:
        """What was told to end has ended."""
        self.cluster.workers = {key: one for key, one in self.cluster.workers.items() if not one.deleting}

    def lose_assignment(self, choice: int) -> None:
        self.cluster.assignment = None if choice % 2 else {**ADMITTED, "workers": 0}

    def admit(self, _: int) -> None:
        self.cluster.assignment = ADMITTED

    def change_policy(self, choice: int) -> None:
        self.restarts = choice % 4
        self.most_restarts = max(self.most_restarts, self.restarts)


@how(max_examples=60, deadline=None)
@given(
    st.integers(0, 3), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), min_size=40, max_size=40)
)
def test_no_life_has_an_attempt_too_many_or_two_at_once(restarts: int, steps: list[tuple[int, int]]) -> None:
    life = Life(restarts)
    for which, choice in steps:
        possible = life.possible()
        possible[which % len(possible)](choice)
        life.check()
