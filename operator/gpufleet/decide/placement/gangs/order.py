"""Who is next: the order in which waiting gangs are looked at.

One function of a job and the fleet is all that admission knows of it; weighted quotas and fair shares give
another one.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Protocol

from gpufleet.api import training_job
from gpufleet.state import snapshot

Job = training_job.TrainingJob
Position = tuple[int, datetime.datetime, str, str]
_NEVER = datetime.datetime.min.replace(tzinfo=datetime.UTC)


class Order(Protocol):
    """What admission and preemption ask of a queue."""

    @property
    def basis(self) -> object:
        """What positions rest on besides the gang itself: while it is equal, they stay."""
        ...

    def position(self, job: Job) -> Position:
        """The gang with the least one is looked at first; no two have the same."""
        ...

    def may_displace(self, first: Job, other: Job) -> bool:
        """Whether a gang that runs may have to give way to one that waits."""
        ...


class ByPriority:
    """By the PriorityClass, then the older one first, then by name; only less urgent gangs give way."""

    def __init__(self, view: snapshot.Snapshot) -> None:
        self._priorities: Mapping[str, int] = view.priorities

    @property
    def basis(self) -> object:
        return self._priorities

    def may_displace(self, first: Job, other: Job) -> bool:
        return self.priority_of(first) > self.priority_of(other)

    def priority_of(self, job: Job) -> int:
        """That of its class; the cluster's default where it names none, 0 for a class that is not there."""
        return self._priorities.get(job.spec.priority_class_name or "", 0)

    def position(self, job: Job) -> Position:
        about = job.metadata
        created = about.creation_timestamp or _NEVER
        urgency = self._priorities.get(job.spec.priority_class_name or "", 0)
        return -urgency, created, about.namespace, about.name
