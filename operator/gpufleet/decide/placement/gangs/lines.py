"""Gangs that wait, in lines: those of one line ask for the same and were told the same, and share a verdict.

Kept from pass to pass: a gang is looked at when it has changed, and a pass costs what its lines cost, however
many wait in them. What a pass decides does not depend on it: with new lines it decides the same.
"""

from __future__ import annotations

import bisect
import dataclasses
import heapq
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence

from gpufleet.api import reasons, training_job
from gpufleet.decide.placement import accelerators as resolving
from gpufleet.decide.placement import release
from gpufleet.decide.placement.gangs import order as orders
from gpufleet.decide.placement.gangs import reserving
from gpufleet.decide.training import outcome

Job = training_job.TrainingJob
Given = training_job.JobAssignment
Member = tuple[orders.Position, Job]

_HOLDING = (*reasons.TAKEN_BACK, reasons.AWAITING_PREEMPTION)


@dataclasses.dataclass(slots=True)
class Line:
    """Gangs that the same books answer alike, the next one first, and what their assignments say."""

    told: Given | None
    members: list[Member] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True)
class Turn:
    """The gang of a line that is next. One that is `stopped` was the line's last: all behind it wait."""

    line: Line
    number: int = 0
    is_stopped: bool = False

    @property
    def position(self) -> orders.Position:
        return self.line.members[self.number][0]

    @property
    def job(self) -> Job:
        return self.line.members[self.number][1]

    def list_waiting(self, without: Collection[str]) -> Sequence[Member]:
        """It and those behind it, but for some UIDs."""
        members = self.line.members[self.number :]
        return [one for one in members if one[1].metadata.uid not in without] if without else members


def shape_of(job: Job) -> Hashable:
    """Equal for gangs that the same books answer alike."""
    spec = job.spec
    return (
        resolving.describe(spec.accelerator),
        spec.framework == "Plain",
        (spec.workers.min, spec.workers.max),
        spec.topology and spec.topology.model_dump_json(),
        spec.parallelism and spec.parallelism.model_dump_json(),
        reserving.find_longest_s(job),
    )


class Lines:
    """The gangs of the fleet by what becomes of them in a pass; `follow` brings it up to date."""

    def __init__(self, shape: Callable[[Job], Hashable] = shape_of) -> None:
        self._shape = shape
        self._basis: object = None
        self._forget()

    def _forget(self) -> None:
        # By identity: what has changed is another object. All are held here, so no identity is reused.
        self._known: dict[int, Job] = {}
        self._holding: dict[int, Job] = {}
        self._left_out: dict[int, Job] = {}
        self._waiting: dict[int, Job] = {}
        self._by_uid: dict[str, Job] = {}
        self._lines: dict[Hashable, Line] = {}

    def follow(self, jobs: Iterable[Job], order: orders.Order) -> None:
        """Takes the gangs that are there now; only what is new or gone is looked at."""
        if order.basis != self._basis:
            self._forget()
            self._basis = order.basis
        shown = {id(job): job for job in jobs}
        for gone in self._known.keys() - shown.keys():
            self._drop(gone, self._known.pop(gone), order)
        for new in shown.keys() - self._known.keys():
            self._known[new] = shown[new]
            self._add(new, shown[new], order)

    @property
    def holding(self) -> tuple[Job, ...]:
        """Gangs that have devices, have to give them back, or have some kept for them; by name."""
        return tuple(sorted(self._holding.values(), key=_name))

    @property
    def left_out(self) -> tuple[Job, ...]:
        """Gangs that are not the cycle's to admit, by name."""
        return tuple(sorted(self._left_out.values(), key=_name))

    @property
    def ours(self) -> Iterator[Job]:
        """All others that have not ended."""
        yield from self._holding.values()
        yield from self._waiting.values()

    def find(self, uids: Iterable[str]) -> Iterator[Job]:
        """Of these the gangs that wait, by name."""
        return iter(sorted((self._by_uid[uid] for uid in uids if uid in self._by_uid), key=_name))

    def take_turns(self, alone: Iterable[Member]) -> Iterator[Turn]:
        """Of all gangs that wait, and of some that are in no line, the next one first."""
        singles = (Line(one[1].status.assignment, [one]) for one in alone)
        turns = map(Turn, (*self._lines.values(), *singles))
        heap = [(turn.position, number, turn) for number, turn in enumerate(turns)]
        heapq.heapify(heap)
        while heap:
            _, number, turn = heap[0]
            yield turn
            turn.number += not turn.is_stopped
            if turn.is_stopped or turn.number == len(turn.line.members):
                heapq.heappop(heap)
            else:
                heapq.heapreplace(heap, (turn.position, number, turn))

    def _add(self, identity: int, job: Job, order: orders.Order) -> None:
        if outcome.is_finished(job):
            return
        if release.is_left_out(job):
            self._left_out[identity] = job
        elif _may_hold(job):
            self._holding[identity] = job
        else:
            self._waiting[identity] = self._by_uid[job.metadata.uid] = job
            line = self._lines.setdefault(self._key(job), Line(job.status.assignment))
            bisect.insort(line.members, (order.position(job), job), key=_position)

    def _drop(self, identity: int, job: Job, order: orders.Order) -> None:
        self._left_out.pop(identity, None)
        self._holding.pop(identity, None)
        if self._waiting.pop(identity, None) is not None:
            if self._by_uid.get(job.metadata.uid) is job:
                del self._by_uid[job.metadata.uid]
            key = self._key(job)
            members = self._lines[key].members
            del members[bisect.bisect_left(members, order.position(job), key=_position)]
            if not members:
                del self._lines[key]

    def _key(self, job: Job) -> Hashable:
        told = job.status.assignment
        return self._shape(job), told and told.model_dump_json()


def _may_hold(job: Job) -> bool:
    given = job.status.assignment
    return given is not None and (given.workers > 0 or given.reason in _HOLDING)


def _position(member: Member) -> orders.Position:
    return member[0]


def _name(job: Job) -> tuple[str, str]:
    return job.metadata.namespace, job.metadata.name
