"""Pods of a service → how long one takes from its creation until it serves, and which are on that way."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

from gpufleet.state import fleet

KEPT = 20
"""Starts that are remembered: only new ones tell of the images, models and nodes of today."""
LONGEST_S = 1800.0
"""A pod that takes longer has waited for room, which is no start."""
UNMEASURED_S = 600.0
"""How long a pod is given before any start was measured."""
SHORTEST_S = 120.0
"""How long a pod is given at least."""
_SLACK = 2.0


@dataclasses.dataclass(frozen=True, slots=True)
class ColdStarts:
    """Measured starts of one service, the newest last, and what is known of its pods, by UID."""

    durations_s: tuple[float, ...] = ()
    awaited: frozenset[str] = frozenset()
    """Seen, and never Ready so far."""
    started: frozenset[str] = frozenset()
    """Seen Ready once: readiness that comes and goes later is no start."""

    def note(self, pods: Iterable[fleet.Pod], now_s: float) -> ColdStarts:
        """With the starts that `pods`, all of the service, show at `now_s`, seconds since the epoch.

        Nobody knows of a pod that was Ready when it was first seen whether it was Ready before. It counts
        only where no container has restarted, and only up to what an unmeasured pod is given.
        """
        present = sorted(pods, key=lambda pod: (pod.ready_s or 0.0, pod.uid))
        new = [pod for pod in present if pod.ready and pod.uid not in self.started]
        found = [taken_s for pod in new if (taken_s := self._measure_s(pod, now_s)) is not None]
        started = self.started.intersection(pod.uid for pod in present) | {pod.uid for pod in new}
        return ColdStarts(
            durations_s=(*self.durations_s, *found)[-KEPT:],
            awaited=frozenset(pod.uid for pod in present) - started,
            started=started,
        )

    def _measure_s(self, pod: fleet.Pod, now_s: float) -> float | None:
        """From creation to Ready; None where that is not known or not plausible."""
        if pod.created_s is None or pod.ready_s is None:
            return None
        # The clock of a node may be ahead of ours.
        taken_s = min(pod.ready_s, now_s) - pod.created_s
        if pod.uid in self.awaited:
            return taken_s if 0 <= taken_s <= LONGEST_S else None
        has_restarted = any(one.restarts for one in pod.containers)
        return taken_s if 0 <= taken_s <= UNMEASURED_S and not has_restarted else None

    def p90_s(self, default: float = 60.0) -> float:
        """Nine of ten starts took no longer (nearest rank); `default` where none was measured."""
        if not self.durations_s:
            return default
        return sorted(self.durations_s)[math.ceil(0.9 * len(self.durations_s)) - 1]

    def deadline_s(self) -> float:
        """How long after its creation a pod counts as capacity to come: twice what nine of ten need."""
        return max(_SLACK * self.p90_s(), SHORTEST_S) if self.durations_s else UNMEASURED_S

    def split_starting(
        self, pods: Iterable[fleet.Pod], now_s: float
    ) -> tuple[tuple[fleet.Pod, ...], tuple[fleet.Pod, ...]]:
        """Pods that are to become Ready: those still expected, and those past the deadline.

        A pod of unknown age is expected; one that is being deleted or has ended is neither.
        """
        waiting = [pod for pod in pods if not (pod.ready or pod.deleting or pod.is_terminal)]
        deadline_s = self.deadline_s()
        overdue = {
            pod.uid for pod in waiting if pod.created_s is not None and now_s - pod.created_s > deadline_s
        }
        return (
            tuple(pod for pod in waiting if pod.uid not in overdue),
            tuple(pod for pod in waiting if pod.uid in overdue),
        )
