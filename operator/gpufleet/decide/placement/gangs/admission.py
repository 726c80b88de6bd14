"""Which gangs may start: in the order of the queue, each whole or not at all, and what is admitted stays."""

from __future__ import annotations

import datetime
from collections.abc import Hashable, Iterator

from gpufleet.api import reasons, training_job
from gpufleet.decide.placement import accelerators as resolving
from gpufleet.decide.placement import booking, promises
from gpufleet.decide.placement.gangs import ground as grounds
from gpufleet.decide.placement.gangs import need as needs
from gpufleet.decide.placement.gangs import order as orders
from gpufleet.decide.placement.gangs import placed
from gpufleet.decide.training import outcome
from gpufleet.state import snapshot

Job = training_job.TrainingJob
Given = training_job.JobAssignment


class Admission:
    """One pass over the gangs. `settle` goes before anything is given to anybody, `admit` last.

    A gang that has lost its places before anything of it runs is simply one that waits.
    """

    def __init__(
        self,
        view: snapshot.Snapshot,
        resolver: resolving.Resolver,
        books: booking.Books,
        pods: promises.PodsByOwner,
        now: datetime.datetime,
    ) -> None:
        self._view, self._resolver, self._books, self._pods, self._now = view, resolver, books, pods, now
        self._ground = grounds.Ground(view, books)
        self._order: orders.Order = orders.ByPriority(view)
        self._given: dict[str, Given] = {}
        self._released: set[str] = set()
        self._stuck: dict[Hashable, str] = {}

    def settle(self) -> None:
        """Books the places of gangs that have some."""
        moved = (
            *placed.book(self._view, self._ground, self._books, self._pods, self._now),
            *placed.book_anywhere(self._view, self._books, self._pods),
        )
        for job, given in moved:
            if given.workers or placed.is_live(job, self._view, self._pods):
                self._given[job.metadata.uid] = given
            else:
                self._released.add(job.metadata.uid)

    def admit(self) -> Iterator[tuple[Job, Given]]:
        """Gangs that have lost their assignment first, since they run; then in the order of the queue."""
        undecided = []
        for job in self._view.jobs:
            if outcome.is_finished(job):
                continue
            if (given := self._given.get(job.metadata.uid)) is not None:
                yield job, given
            elif not _is_admitted(job) or job.metadata.uid in self._released:
                undecided.append(job)
        waiting = []
        for job in undecided:
            if workers := self._view.live_workers.get(job.metadata.uid, 0):
                if not _is_told_to_end(job):
                    yield job, self._restore(job, workers)
            elif not (_is_told_to_end(job) and placed.is_live(job, self._view, self._pods)):
                waiting.append(job)
        for job in self._order.sort(waiting):
            yield job, self._admit(job)

    def _admit(self, job: Job) -> Given:
        """As many workers as fit now, if the smallest gang does."""
        need = needs.read(job, self._resolver, self._ground)
        if isinstance(need, resolving.Refusal):
            return _refuse(job, need.reason, need.message)
        if need is None:
            requested = resolving.describe(job.spec.accelerator)
            return Given(workers=job.spec.workers.max, requested=requested)
        if (known := self._stuck.get(need.key)) is not None:
            return _wait(need, reasons.INSUFFICIENT_CAPACITY, known)
        rooms = self._ground.rooms(need.assigned)
        places = needs.find_places(need, rooms, self._ground)
        if places is not None:
            return self._start(need, places)
        if never := needs.explain_never(need, self._ground):
            return _wait(need, never.reason, never.message)
        message = self._stuck[need.key] = needs.explain_now(need, self._ground)
        return _wait(need, reasons.INSUFFICIENT_CAPACITY, message)

    def _start(self, need: needs.Need, places: grounds.Places) -> Given:
        placed.settle(places, need.assigned, self._ground, self._books)
        return Given(
            workers=sum(places.values()),
            accelerator=need.assigned,
            requested=resolving.describe(need.job.spec.accelerator),
            placement=self._ground.describe(need.assigned, places),
        )

    def _restore(self, job: Job, workers: int) -> Given:
        """The size of the gang as it runs; where its pods may go is in their template."""
        need = needs.read(job, self._resolver, self._ground)
        if isinstance(need, resolving.Refusal):
            return _refuse(job, need.reason, need.message)
        requested = resolving.describe(job.spec.accelerator)
        restored = Given(workers=workers, accelerator=need.assigned if need else None, requested=requested)
        if need is None:
            return restored
        missing = promises.count_missing(job, restored, self._pods.of(placed.owner_of(job)))
        is_kept = placed.take_anywhere(need.assigned, missing, self._books)
        return restored if is_kept else placed.lose(restored)


def _is_admitted(job: Job) -> bool:
    return job.status.assignment is not None and job.status.assignment.workers > 0


def _is_told_to_end(job: Job) -> bool:
    """Whether the cycle has taken the gang's places back, rather than that its assignment was lost."""
    given = job.status.assignment
    return given is not None and given.reason in reasons.TAKEN_BACK


def _refuse(job: Job, reason: str, message: str) -> Given:
    requested = resolving.describe(job.spec.accelerator)
    return Given(workers=0, requested=requested, reason=reason, message=message)


def _wait(need: needs.Need, reason: str, message: str) -> Given:
    return _refuse(need.job, reason, message).model_copy(update={"accelerator": need.assigned})
