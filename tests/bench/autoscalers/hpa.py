"""The HorizontalPodAutoscaler, autoscaling/v2, on a metric of pods or an external one.

Written after what Kubernetes documents (kubernetes/website: content/en/docs/concepts/workloads/autoscaling/
horizontal-pod-autoscale.md), what its controller does (kubernetes/kubernetes: pkg/controller/podautoscaler),
and KEP-853 for `behavior`. Shares no code with gpufleet's own `behavior`, which it is compared with.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal

from gpufleet.sim import service

SYNC_S = 15.0
TOLERANCE = 0.1

MISSING, IGNORED = "missing", "ignored"
"""Of a pod that runs without the metric, and of one that does not run yet."""

PodValue = float | Literal["missing", "ignored"]


def replicas_of_pods_metric(current: int, values: Sequence[PodValue], target: float) -> int | None:
    """What a metric of type Pods asks for; None where no pod has it, which changes nothing."""
    known = [one for one in values if not isinstance(one, str)]
    if not known:
        return None
    missing, ignored = values.count(MISSING), values.count(IGNORED)
    ratio = sum(known) / len(known) / target
    if not missing and not (ignored and ratio > 1):
        return current if _is_close(ratio) else _ceil(ratio * len(known))
    # What is not known is weighed against the change: full when it would shrink, idle when it would grow.
    weighed = [*known, *[target if ratio < 1 else 0.0] * missing]
    if ratio > 1:
        weighed += [0.0] * ignored
    again = sum(weighed) / len(weighed) / target
    if _is_close(again) or (ratio < 1 < again) or (again < 1 < ratio):
        return current
    wanted = _ceil(again * len(weighed))
    turns = wanted > current if again < 1 else wanted < current
    return current if turns else wanted


def replicas_of_external_metric(current: int, total: float, target: float) -> int:
    """What an external metric with an AverageValue asks for; `current` counts starting pods too."""
    if current and _is_close(total / (target * current)):
        return current
    return _ceil(total / target)


def _is_close(ratio: float) -> bool:
    return abs(1 - ratio) <= TOLERANCE


def _ceil(value: float) -> int:
    return math.ceil(round(value, 9))


@dataclasses.dataclass(frozen=True)
class Limit:
    """One policy of `behavior`."""

    type: Literal["Pods", "Percent"]
    value: int
    period_s: float


@dataclasses.dataclass(frozen=True)
class Rules:
    """One direction of `behavior`."""

    window_s: float
    limits: Sequence[Limit]
    select: Literal["Max", "Min", "Disabled"] = "Max"


UP = Rules(0, (Limit("Percent", 100, SYNC_S), Limit("Pods", 4, SYNC_S)))
DOWN = Rules(300, (Limit("Percent", 100, SYNC_S),))


class Behavior:
    """Remembers what was recommended and changed; begins with the number that there is."""

    def __init__(self, up: Rules = UP, down: Rules = DOWN) -> None:
        self._up = up
        self._down = down
        self._recommended: list[tuple[float, int]] = []
        self._changed: list[tuple[float, int]] = []

    def hold(self, current: int, wanted: int, now_s: float) -> int:
        """What may be of it now."""
        if not self._recommended:
            self._recommended = [(now_s, current)]
        allowed = self._limit(current, self._stabilise(current, wanted, now_s), now_s)
        if allowed != current:
            self._changed.append((now_s, allowed - current))
        return allowed

    def _stabilise(self, current: int, wanted: int, now_s: float) -> int:
        """The most cautious of the window, in both directions."""
        longest_s = max(self._up.window_s, self._down.window_s)
        self._recommended = [one for one in self._recommended if one[0] > now_s - longest_s]
        highest = max([wanted, *self._since(now_s - self._down.window_s)])
        lowest = min([wanted, *self._since(now_s - self._up.window_s)])
        self._recommended.append((now_s, wanted))
        return min(max(current, lowest), highest)

    def _since(self, from_s: float) -> list[int]:
        return [number for at_s, number in self._recommended if at_s > from_s]

    def _limit(self, current: int, wanted: int, now_s: float) -> int:
        if wanted == current:
            return current
        rules = self._up if wanted > current else self._down
        if rules.select == "Disabled":
            return current
        sign = 1 if wanted > current else -1
        reached = [self._reach(current, one, sign, now_s) for one in rules.limits]
        farthest = (max if (sign > 0) == (rules.select == "Max") else min)(reached)
        return min(wanted, max(current, farthest)) if sign > 0 else max(wanted, min(current, farthest))

    def _reach(self, current: int, limit: Limit, sign: int, now_s: float) -> int:
        began = current - sum(by for at_s, by in self._changed if at_s > now_s - limit.period_s)
        if limit.type == "Pods":
            return began + sign * limit.value
        exact = began * (1 + sign * limit.value / 100)
        return math.ceil(round(exact, 9)) if sign > 0 else math.floor(round(exact, 9))


class Hpa:
    """An HPA; subclasses say what the metric asks for."""

    interval_s = SYNC_S

    def __init__(self, target: float, low: int, high: int) -> None:
        self._target = target
        self._low = low
        self._high = high
        self._behavior = Behavior()

    def want(self, seen: service.Observation, now_s: float) -> int | None:
        raise NotImplementedError

    def decide(self, seen: service.Observation, now_s: float) -> int:
        wanted = self.want(seen, now_s)
        if wanted is None:
            return seen.replicas
        held = self._behavior.hold(seen.replicas, wanted, now_s)
        return min(max(held, self._low), self._high)


class QueueTimeHpa(Hpa):
    """On the mean time in Triton's queue, in ms, of type Pods: the mean of the pods' means of a minute.

    The adapter turns the NaN of a pod without requests into 0 (kubernetes-sigs/prometheus-adapter).
    """

    WINDOW_S = 60.0

    def want(self, seen: service.Observation, now_s: float) -> int | None:
        values = read_pods(seen, {one.name: self._read(seen, one.name, now_s) for one in seen.pods})
        return replicas_of_pods_metric(seen.replicas, values, self._target)

    def _read(self, seen: service.Observation, name: str, now_s: float) -> float | None:
        waited_s = seen.prometheus.rate(name, lambda one: one.queue_s, self.WINDOW_S, now_s)
        answered = seen.prometheus.rate(name, lambda one: one.success, self.WINDOW_S, now_s)
        if waited_s is None or answered is None:
            return None
        return 1000 * waited_s / answered if answered else 0.0


def read_pods(seen: service.Observation, values: Mapping[str, float | None]) -> list[PodValue]:
    """Of the pods that stay: one that loads its models runs, but Triton's port 8002 is not open yet."""
    found: list[PodValue] = []
    for pod in seen.pods:
        if pod.deleting:
            continue
        value = values[pod.name]
        found.append(IGNORED if not pod.bound else MISSING if value is None else value)
    return found
