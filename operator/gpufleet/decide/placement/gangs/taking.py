"""Preemption: devices are taken from less urgent gangs, and kept for whom they were taken.

In Advisory nothing is taken; that it could be is told. The gang that gets them is told so in its assignment,
with the nodes: they stay kept until it starts, or until they can no longer become free.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence

from gpufleet.api import reasons, training_job
from gpufleet.decide.autoscaling import scaler
from gpufleet.decide.placement import booking, brakes, disruption, promises
from gpufleet.decide.placement.gangs import ground as grounds
from gpufleet.decide.placement.gangs import need as needs
from gpufleet.decide.placement.gangs import order as orders
from gpufleet.decide.placement.gangs import placed
from gpufleet.decide.placement.gangs import victims as finding
from gpufleet.state import snapshot

Job = training_job.TrainingJob
Given = training_job.JobAssignment

ADVISED = "; less urgent gangs hold enough, but training.preemption is Advisory: they keep it"
OVER_BUDGET = (
    "; less urgent gangs hold enough, but the disruption budget of this hour does not allow to take it"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Taking:
    """What is taken from whom, and the nodes that it is for; `note` says why nothing is, though it could."""

    victims: tuple[finding.Victim, ...] = ()
    places: grounds.Places | None = None
    note: str = ""


def tell(victims: Sequence[finding.Victim]) -> str:
    """Who gives way, as far as there is room to say it."""
    names = [f"{one.job.metadata.namespace}/{one.job.metadata.name}" for one in victims]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


class Taker:
    """Finds what may be taken in one pass."""

    def __init__(
        self,
        view: snapshot.Snapshot,
        books: booking.Books,
        ground: grounds.Ground,
        pods: promises.PodsByOwner,
        order: orders.Order,
        limits: brakes.Limits,
        left_gpus: float,
        now: datetime.datetime,
    ) -> None:
        self._view, self._books, self._ground, self._pods = view, books, ground, pods
        self._order, self._limits, self._left_gpus, self._now = order, limits, left_gpus, now
        self._taken: set[str] = set()

    def find(self, need: needs.Need) -> Taking:
        """For the smallest size of the gang, so that never more goes than starts it."""
        candidates = [
            one
            for one in finding.find_candidates(
                need, self._view, self._books, self._pods, self._order, self._limits, self._now
            )
            if one.job.metadata.uid not in self._taken
        ]
        if not candidates:
            return Taking()

        def find_places(freed: Mapping[str, int]) -> grounds.Places | None:
            rooms = self._ground.rooms_with(need.assigned, freed)
            return needs.find_least(need, rooms, self._ground)

        chosen = finding.choose(candidates, lambda freed: find_places(freed) is not None)
        if chosen is None:
            return Taking()
        if self._limits.preemption != "Active":
            return Taking(chosen, None, ADVISED)
        gpus = sum(one.gpus for one in chosen)
        if gpus > self._left_gpus:
            return Taking(chosen, None, OVER_BUDGET)
        self._left_gpus -= gpus
        self._taken |= {one.job.metadata.uid for one in chosen}
        return Taking(chosen, find_places(finding.sum_freed(chosen)))

    def take(self, victim: finding.Victim, need: needs.Need) -> Given:
        """The victim's new assignment."""
        given = victim.job.status.assignment
        assert given is not None
        assert given.accelerator is not None
        about = f"{need.job.metadata.namespace}/{need.job.metadata.name}, which is more urgent"
        lost = f"{victim.lost_gpu_s:.0f} GPU-seconds of work since the last checkpoint are done again"
        since = self._now - datetime.timedelta(seconds=scaler.BUDGET_S)
        shed = victim.shed + disruption.shed_lately(given, since)
        changed = {"resized_at": self._now.replace(microsecond=0), "shed_workers": shed}
        if not victim.workers:
            message = f"its devices go to {about}; {lost}"
            changed |= {"workers": 0, "placement": None, "reason": reasons.PREEMPTED, "message": message}
            return given.model_copy(update=changed)
        message = f"{victim.shed} of its workers go, for {about}; {lost}"
        changed |= {"workers": victim.workers, "reason": reasons.SHRUNK, "message": message}
        if given.placement is not None:
            places = placed.count_bound(
                pod
                for pod in self._pods.of(placed.owner_of(victim.job))
                if placed.read_index(pod) < victim.workers
            )
            changed["placement"] = self._ground.describe(given.accelerator, places)
        return given.model_copy(update=changed)
