"""Knative's Pod Autoscaler on concurrency, with the defaults of its ConfigMap.

Written after knative/docs: docs/serving/autoscaling/kpa-specific.md and what knative/serving does
(pkg/autoscaler/scaling/autoscaler.go). The activator is left out: it buffers requests of a service at zero,
and Triton's are never there in this comparison.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque

from gpufleet.sim import service

TICK_S = 2.0
STABLE_S = 60.0
PANIC_S = 6.0
PANIC_THRESHOLD = 2.0
MAX_UP = 1000.0
MAX_DOWN = 2.0


@dataclasses.dataclass
class Scaler:
    """The decision of one tick; `ready` pods at its making: more than one make it begin in panic."""

    target: float
    ready_at_first: int = 0
    max_up: float = MAX_UP
    max_down: float = MAX_DOWN
    panic_threshold: float = PANIC_THRESHOLD
    panic_since_s: float | None = None
    panic_pods: int = 0

    def begin(self, now_s: float) -> None:
        """As after a restart: what there is, is kept until there is data."""
        self.panic_pods = self.ready_at_first
        self.panic_since_s = now_s if self.ready_at_first > 1 else None

    def scale(self, stable: float, panic: float, ready: int, now_s: float) -> int:
        """Pods for the concurrency of both windows."""
        present = max(1, ready)
        most = math.ceil(self.max_up * present)
        least = math.floor(present / self.max_down)
        for_stable, for_panic = (_ceil(one / self.target) for one in (stable, panic))
        is_over = for_panic / present >= self.panic_threshold
        if is_over:
            self.panic_since_s = now_s
        elif self.panic_since_s is not None and self.panic_since_s + STABLE_S < now_s:
            self.panic_since_s, self.panic_pods = None, 0
        wanted = min(max(for_stable, least), most)
        if self.panic_since_s is None:
            return wanted
        self.panic_pods = max(self.panic_pods, wanted, min(max(for_panic, least), most))
        return self.panic_pods


def _ceil(value: float) -> int:
    return math.ceil(round(value, 9))


class Kpa:
    """Reads concurrency from the pods themselves, so that Prometheus does not matter to it."""

    interval_s = TICK_S

    def __init__(self, target: float, low: int, high: int) -> None:
        self._target = target
        self._low = low
        self._high = high
        self._scaler: Scaler | None = None
        self._seen: deque[tuple[float, float]] = deque(maxlen=int(STABLE_S / TICK_S) + 1)

    def decide(self, seen: service.Observation, now_s: float) -> int:
        self._seen.append((now_s, seen.in_flight_s))
        if self._scaler is None:
            self._scaler = Scaler(self._target, seen.ready)
            self._scaler.begin(now_s)
        stable, panic = self._mean(STABLE_S), self._mean(PANIC_S)
        if stable is None or panic is None:
            return seen.replicas
        wanted = self._scaler.scale(stable, panic, seen.ready, now_s)
        return min(max(wanted, self._low), self._high)

    def _mean(self, window_s: float) -> float | None:
        """Concurrency of the window, or of what there is of it."""
        now_s, total = self._seen[-1]
        first_s, first = next(one for one in self._seen if one[0] >= now_s - window_s)
        return (total - first) / (now_s - first_s) if now_s > first_s else None
