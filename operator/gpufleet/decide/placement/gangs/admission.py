"""Which gangs may start: in the order of the queue, each whole or not at all, and what is admitted stays."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Collection, Hashable, Iterator, Sequence
from typing import NamedTuple

from gpufleet.api import reasons, training_job
from gpufleet.decide.placement import accelerators as resolving
from gpufleet.decide.placement import booking, brakes, promises
from gpufleet.decide.placement.gangs import ground as grounds
from gpufleet.decide.placement.gangs import growing, lines, nominees, placed, reserving, taking, waiting
from gpufleet.decide.placement.gangs import need as needs
from gpufleet.decide.placement.gangs import order as orders
from gpufleet.state import snapshot

Job = training_job.TrainingJob
Given = training_job.JobAssignment


_Queue = tuple[str, str | None]
"""(resource, pool): who waits for the same."""

_STAYS = (reasons.INSUFFICIENT_CAPACITY, reasons.RESERVED)


class Admitted(NamedTuple):
    """What becomes of gangs in one pass: places that change or go, those that are given, who waits why."""

    taken: list[tuple[Job, Given]]
    given: list[tuple[Job, Given]]
    told: list[tuple[Job, Given]]


class _Stuck(NamedTuple):
    """A gang that does not fit, and so none of its line does; and what is reserved for one ahead of it."""

    given: Given
    held: reserving.Reservation | None = None


class Admission:
    """One pass over the gangs. `settle` goes before anything is given to anybody, `admit` last.

    A gang that has lost its places before anything of it runs is simply one that waits.
    """

    def __init__(
        self,
        view: snapshot.Snapshot,
        kept: lines.Lines,
        resolver: resolving.Resolver,
        books: booking.Books,
        pods: promises.PodsByOwner,
        limits: brakes.Limits,
        left_gpus: float,
        now: datetime.datetime,
    ) -> None:
        self._view, self._resolver, self._books, self._pods, self._now = view, resolver, books, pods, now
        # Of tens of thousands that wait, few hold anything: most questions are about those alone.
        self._holding = dataclasses.replace(view, jobs=kept.holding)
        self._lines = kept
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
        self.queue = waiting.Queue()
        """Gangs that wait; whole once `admit` has been called."""
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
            nominees.keep(job, self._books)

    def admit(self) -> Admitted:
        """Gangs that have lost their assignment first, since they run; then in the order of the queue."""
        running, alone = self._read_holding()
        restored = [(job, self._restore(job, workers)) for job, workers in running.values()]
        found, stopped = list[tuple[Job, Given]](), list[tuple[lines.Turn, _Stuck | None]]()
        for turn in self._lines.take_turns(alone):
            if turn.job.metadata.uid in running:
                continue
            verdict = None if self._has_been_told(turn.line.told) else self._admit(turn.job)
            if isinstance(verdict, Given):
                found.append((turn.job, verdict))
            else:
                turn.is_stopped = True
                stopped.append((turn, verdict))
        found += self._grower.grow(self._view_of_others(), self._heads)
        taken = [
            (job, self._given[uid]) for job in self._holding.jobs if (uid := job.metadata.uid) in self._given
        ]
        told = [one for one in found if _waits(one[1])]
        given = [one for one in found if not _waits(one[1])]
        return Admitted([*taken, *restored], given, [*told, *self._tell(stopped, running)])

    def _read_holding(self) -> tuple[dict[str, tuple[Job, int]], list[lines.Member]]:
        """Gangs that run though they are not admitted, by UID, and those that hold something and wait."""
        live = {uid: workers for uid, workers in self._view.live_workers.items() if workers}
        running, alone = dict[str, tuple[Job, int]](), list[lines.Member]()
        for job in (*self._holding.jobs, *self._lines.find(live)):
            uid = job.metadata.uid
            if uid in self._given or (_is_admitted(job) and uid not in self._released):
                continue
            if _is_told_to_end(job) and placed.is_live(job, self._view, self._pods):
                continue
            if uid in live and not _is_told_to_end(job):
                running[uid] = job, live[uid]
            else:
                alone.append((self._order.position(job), job))
        return running, alone

    def _tell(
        self, stopped: Sequence[tuple[lines.Turn, _Stuck | None]], running: Collection[str]
    ) -> Iterator[tuple[Job, Given]]:
        """What those are told that wait, of whom most know it already."""
        for turn, stuck in stopped:
            told, members = turn.line.told, turn.list_waiting(without=running)
            if stuck is not None and not self._has_been_told(told):
                self.queue.crowds.append(waiting.Crowd(members, *stuck))
                if _is_news(told, stuck.given):
                    yield from ((job, stuck.given) for _, job in members)
            elif told is not None and told.accelerator is not None:
                held = self._reservations.get((told.accelerator.resource, told.accelerator.pool))
                self.queue.crowds.append(waiting.Crowd(members, told, held))

    def _view_of_others(self) -> snapshot.Snapshot:
        """Gangs of which nothing has been decided in this pass."""
        decided = self._given.keys() | self._released
        jobs = tuple(job for job in self._holding.jobs if job.metadata.uid not in decided)
        return dataclasses.replace(self._holding, jobs=jobs)

    def _admit(self, job: Job) -> Given | _Stuck:
        """As many workers as fit now, if the smallest gang does."""
        need = needs.read(job, self._resolver, self._ground)
        if isinstance(need, resolving.Refusal):
            return _Stuck(_refuse(job, need.reason, need.message))
        if need is None:
            requested = resolving.describe(job.spec.accelerator)
            return Given(workers=job.spec.workers.max, requested=requested)
        held = self._reservations.get(_queue_of(need))
        fills = held is not None and held.outlasts(job)
        key = need.key, fills
        if (known := self._stuck.get(key)) is not None and not nominees.is_nominee(job):
            return _Stuck(_wait(need, *known), held)
        nominees.release(job, self._books)
        rooms = self._ground.rooms(need.assigned, into_reserved=fills)
        places = needs.find_places(need, rooms, self._ground)
        if places is not None:
            return self._start(need, places)
        if never := needs.explain_never(need, self._ground):
            return _Stuck(_wait(need, never.reason, never.message))
        if nominees.is_being_freed(need, self._books) and job.status.assignment:
            nominees.keep(job, self._books)
            return self._note(job, job.status.assignment)
        if _queue_of(need) not in self._heads:
            return self._hold_back(need)
        self._stuck[key] = self._explain(need, held)
        if self._ground.is_full(need.assigned):
            self._full.add(_queue_of(need))
        return _Stuck(_wait(need, *self._stuck[key]), held)

    def _has_been_told(self, given: Given | None) -> bool:
        """Where no device is left, a gang that was told that it waits is told nothing new."""
        if not self._full or given is None or given.reason not in _STAYS or given.accelerator is None:
            return False
        return not given.workers and (given.accelerator.resource, given.accelerator.pool) in self._full

    def _explain(self, need: needs.Need, held: reserving.Reservation | None) -> tuple[str, str]:
        """(reason, message) of a gang that does not fit now."""
        rooms = self._ground.rooms(need.assigned, into_reserved=True)
        if held is None or needs.find_least(need, rooms, self._ground) is None:
            return reasons.INSUFFICIENT_CAPACITY, needs.explain_now(need, self._ground)
        message = f"{needs.tell(need)}; the room that there is is reserved for a gang ahead of it"
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
        self.queue.single.append((self._order.position(job), waiting.Waiting(job, given, held, taken)))
        return given

    def _nominate(self, need: needs.Need, taken: taking.Taking, places: grounds.Places) -> Given:
        """Its nodes are kept for it until their pods have ended."""
        for victim in taken.victims:
            self._given[victim.job.metadata.uid] = self._taker.take(victim, need)
        for name, workers in places.items():
            self._books.keep(name, need.assigned, workers)
        gpus = sum(victim.gpus for victim in taken.victims)
        message = f"{needs.tell(need)}; {gpus:g} GPUs are being freed for it by {taking.tell(taken.victims)}"
        given = _wait(need, reasons.AWAITING_PREEMPTION, message)
        return given.model_copy(update={"placement": self._ground.hold(places)})

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


def _waits(given: Given) -> bool:
    """Whether nothing is done for the gang by now."""
    return not given.workers and given.reason != reasons.AWAITING_PREEMPTION


def _is_news(told: Given | None, given: Given) -> bool:
    """Whether a gang that waits is told; not that reserved room has gone, which comes and goes."""
    if told is None or told.reason != reasons.RESERVED or given.reason != reasons.INSUFFICIENT_CAPACITY:
        return told != given
    return told.accelerator != given.accelerator


def _is_told_to_end(job: Job) -> bool:
    """Whether the cycle has taken the gang's places back, rather than that its assignment was lost."""
    given = job.status.assignment
    return given is not None and given.reason in reasons.TAKEN_BACK


def _queue_of(need: needs.Need) -> _Queue:
    return need.assigned.resource, need.assigned.pool


def _refuse(job: Job, reason: str, message: str) -> Given:
    requested = resolving.describe(job.spec.accelerator)
    return Given(workers=0, requested=requested, reason=reason, message=message)


def _wait(need: needs.Need, reason: str, message: str) -> Given:
    return _refuse(need.job, reason, message).model_copy(update={"accelerator": need.assigned})
