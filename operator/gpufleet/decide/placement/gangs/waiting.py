"""The queue as the read API tells it: written down in a pass as it is, worded when somebody asks."""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from gpufleet.api import training_job
from gpufleet.decide.placement.gangs import order as orders
from gpufleet.decide.placement.gangs import reserving, taking
from gpufleet.state import queue


class Waiting(NamedTuple):
    """A gang that waits, what is reserved for it or for the one ahead, and what might be taken for it."""

    job: training_job.TrainingJob
    given: training_job.JobAssignment
    held: reserving.Reservation | None = None
    taken: taking.Taking | None = None


class Crowd(NamedTuple):
    """Gangs that wait for the same and are told the same."""

    members: Sequence[tuple[orders.Position, training_job.TrainingJob]]
    given: training_job.JobAssignment
    held: reserving.Reservation | None = None


@dataclasses.dataclass(slots=True)
class Queue:
    """All that wait; put in order when somebody looks."""

    single: list[tuple[orders.Position, Waiting]] = dataclasses.field(default_factory=list)
    crowds: list[Crowd] = dataclasses.field(default_factory=list)

    def __iter__(self) -> Iterator[Waiting]:
        """The next one first."""
        for _, one in heapq.merge(self.single, *map(_spread, self.crowds), key=lambda found: found[0]):
            yield one

    def __len__(self) -> int:
        return len(self.single) + sum(len(one.members) for one in self.crowds)


def describe(waiting: Iterable[Waiting]) -> Iterator[queue.Entry]:
    """The next one first."""
    for position, one in enumerate(waiting, start=1):
        about, held = one.job.metadata, one.held
        is_head = held is not None and held.need.job is one.job
        basis = ""
        if held is not None:
            basis = held.basis if is_head else f"it is behind {name_of(held.need.job)}"
        yield queue.Entry(
            about.namespace,
            about.name,
            position,
            one.given.reason,
            one.given.message,
            held.left_s if held is not None and is_head else None,
            basis,
            tuple(name_of(victim.job) for victim in one.taken.victims) if one.taken else (),
        )


def _spread(crowd: Crowd) -> Iterator[tuple[orders.Position, Waiting]]:
    for position, job in crowd.members:
        yield position, Waiting(job, crowd.given, crowd.held)


def name_of(job: training_job.TrainingJob) -> str:
    """As people write it."""
    return f"{job.metadata.namespace}/{job.metadata.name}"
