"""Elastic gangs that run with fewer workers than they may: they get what is free and nobody waits for.

A gang that grows goes back to its last checkpoint, so it grows just after one, and only after a while at its
size. One that reports no checkpoint stays as it started.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Container, Iterator, Sequence

from gpufleet.api import reasons, training_job
from gpufleet.decide.autoscaling import scaler
from gpufleet.decide.placement import booking, brakes, disruption, promises
from gpufleet.decide.placement.gangs import ground as grounds
from gpufleet.decide.placement.gangs import need as needs
from gpufleet.decide.placement.gangs import placed
from gpufleet.decide.placement.gangs import tree as trees
from gpufleet.decide.training import outcome
from gpufleet.state import fleet, snapshot

Job = training_job.TrainingJob
Given = training_job.JobAssignment

FRESH_S = 120.0
"""Age of a checkpoint up to which little is lost; status tells of one within a minute."""


class Grower:
    """Gives room in one pass, once everybody who waits has been looked at."""

    def __init__(
        self,
        ground: grounds.Ground,
        books: booking.Books,
        pods: promises.PodsByOwner,
        limits: brakes.Limits,
        now: datetime.datetime,
    ) -> None:
        self._ground, self._books, self._pods, self._limits, self._now = ground, books, pods, limits, now

    def grow(
        self, view: snapshot.Snapshot, awaited: Container[tuple[str, str | None]]
    ) -> Iterator[tuple[Job, Given]]:
        """`awaited` are (resource, pool) that a gang waits for: nobody grows there."""
        for job in view.jobs:
            given = job.status.assignment
            if given is None or given.accelerator is None or not 0 < given.workers < job.spec.workers.max:
                continue
            assigned = given.accelerator
            if outcome.is_finished(job) or (assigned.resource, assigned.pool) in awaited:
                continue
            own = [pod for pod in self._pods.of(placed.owner_of(job)) if not pod.is_terminal]
            ask = self._ground.read_ask(job, assigned)
            is_simple = not isinstance(ask, grounds.Misfit) and ask.slice_level is None
            if isinstance(ask, trees.Ask) and is_simple and self._may_grow(job, given, own):
                yield from self._grow(job, given, needs.Need(job, assigned, ask), own)

    def _may_grow(self, job: Job, given: Given, own: Sequence[fleet.Pod]) -> bool:
        is_whole = len(own) == given.workers and all(pod.node and not pod.deleting for pod in own)
        said, now_s = job.status.progress, self._now.timestamp()
        if not is_whole or said is None or said.checkpoint_time is None:
            return False
        begun_s = min(pod.created_s or 0.0 for pod in own)
        since_s = max(begun_s, given.resized_at.timestamp() if given.resized_at else 0.0)
        saved_s = said.checkpoint_time.timestamp()
        is_fresh = begun_s <= saved_s and now_s - saved_s <= FRESH_S
        return is_fresh and now_s - since_s >= self._limits.minimum_runtime_s

    def _grow(
        self, job: Job, given: Given, need: needs.Need, own: Sequence[fleet.Pod]
    ) -> Iterator[tuple[Job, Given]]:
        """Beside its workers, which stay where they are; within their domain, where one is required."""
        tree, bound = self._ground.tree_of(need.assigned), placed.count_bound(own)
        rooms = self._ground.rooms(need.assigned)
        if need.ask.required is not None:
            domains = tree.domains_at(need.ask.required)
            home = {domain for name, domain in zip(tree.names, domains, strict=True) if name in bound}
            rooms = [room if domain in home else 0 for room, domain in zip(rooms, domains, strict=True)]
        workers = need.trim(given.workers + sum(rooms))
        more = tree.find(rooms, workers - given.workers) if workers > given.workers else None
        if more is None:
            return
        placed.settle(more, need.assigned, self._ground, self._books)
        placement = given.placement and self._ground.describe(need.assigned, bound + Counter(more))
        since = self._now - datetime.timedelta(seconds=scaler.BUDGET_S)
        message = f"from {given.workers} workers to {workers}: there is room that nobody waits for"
        yield (
            job,
            given.model_copy(
                update={
                    "workers": workers,
                    "placement": placement,
                    "resized_at": self._now.replace(microsecond=0),
                    "shed_workers": disruption.shed_lately(given, since),
                    "reason": reasons.GROWN,
                    "message": message,
                }
            ),
        )
