"""Which gangs may start: in the order of the queue, each whole or not at all, and what is admitted stays."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Hashable, Sequence

from gpufleet.api import reasons, training_job
from gpufleet.decide.placement import accelerators as resolving
from gpufleet.decide.placement import booking, brakes, promises
from gpufleet.decide.placement.gangs import ground as grounds
from gpufleet.decide.placement.gangs import growing, placed, reserving, taking, waiting
from gpufleet.decide.placement.gangs import need as needs
from gpufleet.decide.placement.gangs import order as orders
from gpufleet.decide.placement.gangs import victims as finding
from gpufleet.decide.training import outcome
from gpufleet.state import snapshot

Job = training_job.TrainingJob
Given = training_job.JobAssignment


_Queue = tuple[str, str | None]
"""(resource, pool): who waits for the same."""

_HOLDING = (*reasons.TAKEN_BACK, reasons.AWAITING_PREEMPTION)
_STAYS = (reasons.INSUFFICIENT_CAPACITY, reasons.RESERVED)


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
        limits: brakes.Limits,
        left_gpus: float,
        now: datetime.datetime,
    ) -> None:
        self._view, self._resolver, self._books, self._pods, self._now = view, resolver, books, pods, now
        # Of tens of thousands that wait, few hold anything: most questions are about those alone.
        self._holding = dataclasses.replace(view, jobs=tuple(filter(_may_hold, view.jobs)))
        self._ground = grounds.Ground(view, books)
        self._order: orders.Order = orders.ByPriority(view)
        self._taker = taking.Taker(
            self._holding, books, self._ground, pods, self._order, limits, left_gpus, now
        )
        self._given: dict[str, Given] = {}
        self._released: set[str] = set()
        self._stuck: dict[Hashable, tuple[str, str]] = {}
        self._reservations: dict[_Queue, reserving.Reservation] = {}
        self._full: set[_Queue] = set()
        self.queue: list[waiting.Waiting] = []
        """Gangs that wait, the next one first; whole once `admit` has been called."""
        self._heads: set[_Queue] = set()
        self._grower = growing.Grower(self._ground, books, pods, limits, now)

    def settle(self) -> None:
        """Books the places of gangs that have some, and keeps those that were freed for one that waits."""
        placed.note_leaving(self._holding, self._books, self._pods)
        moved = (
            *placed.book(self._holding, self._ground, self._books, self._pods, self._now),
            *placed.book_anywhere(self._holding, self._books, self._pods),
        )
        for job, given in moved:
            if given.workers or placed.is_live(job, self._view, self._pods):
                self._given[job.metadata.uid] = given
            else:
                self._released.add(job.metadata.uid)
        for job in self._holding.jobs:
            self._keep(job)

    def admit(self) -> list[tuple[Job, Given]]:
        """Gangs that have lost their assignment first, since they run; then in the order of the queue."""
        queue, found = [], list[tuple[Job, Given]]()
        for job in self._view.jobs:
            uid = job.metadata.uid
            if outcome.is_finished(job) or uid in self._given:
                continue
            if _is_admitted(job) and uid not in self._released:
                continue
            if _is_told_to_end(job) and placed.is_live(job, self._view, self._pods):
                continue
            workers = self._view.live_workers.get(uid, 0)
            if workers and not _is_told_to_end(job):
                found.append((job, self._restore(job, workers)))
            else:
                queue.append(job)
        found += [(job, self._admit(job)) for job in self._order.sort(queue) if not self._has_been_told(job)]
        found += self._grower.grow(self._view_of_others(), self._heads)
        # What is taken is written first: it is not given before.
        taken = [
            (job, self._given[uid]) for job in self._view.jobs if (uid := job.metadata.uid) in self._given
        ]
        return [*taken, *found]

    def _view_of_others(self) -> snapshot.Snapshot:
        """Gangs of which nothing has been decided in this pass."""
        decided = self._given.keys() | self._released
        jobs = tuple(job for job in self._holding.jobs if job.metadata.uid not in decided)
        return dataclasses.replace(self._holding, jobs=jobs)

    def _admit(self, job: Job) -> Given:
        """As many workers as fit now, if the smallest gang does."""
        need = needs.read(job, self._resolver, self._ground)
        if isinstance(need, resolving.Refusal):
            return self._note(job, _refuse(job, need.reason, need.message))
        if need is None:
            requested = resolving.describe(job.spec.accelerator)
            return Given(workers=job.spec.workers.max, requested=requested)
        held = self._reservations.get(_queue_of(need))
        fills = held is not None and held.outlasts(job)
        key = need.key, fills
        if (known := self._stuck.get(key)) is not None and not _is_nominee(job):
            return self._note(job, _wait(need, *known), held)
        self._keep(job, again=False)
        rooms = self._ground.rooms(need.assigned, into_reserved=fills)
        places = needs.find_places(need, rooms, self._ground)
        if places is not None:
            return self._start(need, places)
        if never := needs.explain_never(need, self._ground):
            return self._note(job, _wait(need, never.reason, never.message))
        if self._is_being_freed(need) and job.status.assignment:
            self._keep(job)
            return self._note(job, job.status.assignment)
        if _queue_of(need) not in self._heads:
            return self._hold_back(need)
        self._stuck[key] = self._explain(need, held)
        if self._ground.is_full(need.assigned):
            self._full.add(_queue_of(need))
        return self._note(job, _wait(need, *self._stuck[key]), held)

    def _has_been_told(self, job: Job) -> bool:
        """Where no device is left, a gang that was told that it waits is told nothing new.

        Most gangs of a long queue end here in each pass.
        """
        given = job.status.assignment
        if not self._full or given is None or given.reason not in _STAYS or given.accelerator is None:
            return False
        queue = given.accelerator.resource, given.accelerator.pool
        if queue not in self._full or given.workers:
            return False
        self.queue.append(waiting.Waiting(job, given, self._reservations.get(queue)))
        return True

    def _explain(self, need: needs.Need, held: reserving.Reservation | None) -> tuple[str, str]:
        """(reason, message) of a gang that does not fit now."""
        rooms = self._ground.rooms(need.assigned, into_reserved=True)
        if held is None or needs.find_least(need, rooms, self._ground) is None:
            return reasons.INSUFFICIENT_CAPACITY, needs.explain_now(need, self._ground)
        ahead = waiting.name_of(held.need.job)
        message = f"{needs.tell(need)}; the room that there is is reserved for {ahead}"
        return reasons.RESERVED, f"{message}: wait, or set activeDeadlineSeconds so that it ends before"

    def _hold_back(self, need: needs.Need) -> Given:
        """The first of those that wait for the same: others give way to it, or nodes are reserved for it."""
        queue, message = _queue_of(need), needs.explain_now(need, self._ground)
        self._heads.add(queue)
        taken = self._taker.find(need)
        if taken.places is not None:
            return self._note(need.job, self._nominate(need, taken, taken.places))
        found = reserving.find(need, self._holding, self._books, self._ground, self._pods, self._now)
        if found is not None:
            self._reservations[queue] = found
            for name, workers in found.places.items():
                self._books.reserve(name, need.assigned, workers)
        given = _wait(need, reasons.INSUFFICIENT_CAPACITY, message + taken.note)
        return self._note(need.job, given, found, taken)

    def _note(
        self,
        job: Job,
        given: Given,
        held: reserving.Reservation | None = None,
        taken: taking.Taking | None = None,
    ) -> Given:
        """Puts a gang that waits into the queue that the read API shows."""
        self.queue.append(waiting.Waiting(job, given, held, taken))
        return given

    def _nominate(self, need: needs.Need, taken: taking.Taking, places: grounds.Places) -> Given:
        """Its nodes are kept for it until their pods have ended."""
        for victim in taken.victims:
            self._given[victim.job.metadata.uid] = self._taker.take(victim, need)
        for name, workers in places.items():
            self._books.keep(name, need.assigned, workers)
        gpus = sum(victim.gpus for victim in taken.victims)
        message = f"{needs.tell(need)}; {gpus:g} GPUs are being freed for it by {_tell(taken.victims)}"
        given = _wait(need, reasons.AWAITING_PREEMPTION, message)
        return given.model_copy(update={"placement": self._ground.hold(places)})

    def _keep(self, job: Job, *, again: bool = True) -> None:
        """Keeps what was freed for a gang that waits, or gives it to the gang itself."""
        given = job.status.assignment
        if not _is_nominee(job) or given is None or given.accelerator is None or given.placement is None:
            return
        for domain in given.placement.domains:
            if domain.values[0] in self._books.kept:
                workers = domain.workers if again else -domain.workers
                self._books.keep(domain.values[0], given.accelerator, workers)

    def _is_being_freed(self, need: needs.Need) -> bool:
        """Whether pods that are about to end still hold what the gang has been promised."""
        given = need.job.status.assignment
        if not _is_nominee(need.job) or given is None or given.placement is None:
            return False
        resource, count = need.assigned.resource, need.assigned.count
        for domain in given.placement.domains:
            name = domain.values[0]
            if name not in self._books.free:
                return False
            free = max(0, self._books.count_free(name, need.assigned)) + self._books.ending[name][resource]
            if free // count < domain.workers:
                return False
        return True

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


def _may_hold(job: Job) -> bool:
    """Whether the gang has devices, has to give them back, or has some kept for it."""
    given = job.status.assignment
    return given is not None and (given.workers > 0 or given.reason in _HOLDING)


def _is_admitted(job: Job) -> bool:
    return job.status.assignment is not None and job.status.assignment.workers > 0


def _is_told_to_end(job: Job) -> bool:
    """Whether the cycle has taken the gang's places back, rather than that its assignment was lost."""
    given = job.status.assignment
    return given is not None and given.reason in reasons.TAKEN_BACK


def _is_nominee(job: Job) -> bool:
    """Whether devices are being freed for the gang."""
    given = job.status.assignment
    return given is not None and given.reason == reasons.AWAITING_PREEMPTION and not outcome.is_finished(job)


def _queue_of(need: needs.Need) -> _Queue:
    return need.assigned.resource, need.assigned.pool


def _tell(victims: Sequence[finding.Victim]) -> str:
    """Who gives way, as far as there is room to say it."""
    names = [waiting.name_of(one.job) for one in victims]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _refuse(job: Job, reason: str, message: str) -> Given:
    requested = resolving.describe(job.spec.accelerator)
    return Given(workers=0, requested=requested, reason=reason, message=message)


def _wait(need: needs.Need, reason: str, message: str) -> Given:
    return _refuse(need.job, reason, message).model_copy(update={"accelerator": need.assigned})
