"""KEDA with a Prometheus trigger: it wakes and puts to sleep, and leaves 1 to N to an HPA on its metric.

Written after kedacore/keda-docs (concepts/scaling-deployments.md, scalers/prometheus.md, reference/
scaledobject-spec.md) and what kedacore/keda does (pkg/scaling/executor, pkg/scalers/prometheus_scaler.go).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from gpufleet.sim import service
from tests.bench.autoscalers import hpa

POLL_S = 30.0
COOLDOWN_S = 300.0


class TriggerError(Exception):
    """The trigger has no value; nothing is scaled by it."""


def read_answer(series: Sequence[float | None], *, ignore_null_values: bool = True) -> float:
    """The value of a query's only series; None is one without a sample.

    Raises:
        TriggerError: more than one series, or none that is a finite number where that is not ignored.
    """
    if len(series) > 1:
        raise TriggerError("the query answers with more than one series")
    value = series[0] if series else None
    if value is not None and math.isfinite(value):
        return value
    if ignore_null_values:
        return 0.0
    raise TriggerError("the query answers with no finite number")


@dataclasses.dataclass
class Activation:
    """Between zero and one; a minimum of 1 or more leaves everything to the HPA."""

    low: int
    threshold: float = 0.0
    cooldown_s: float = COOLDOWN_S
    active_s: float | None = None

    def poll(self, replicas: int, value: float, now_s: float) -> int:
        """Replicas after one poll."""
        if value > self.threshold:
            self.active_s = now_s
            return max(1, self.low) if replicas == 0 else replicas
        if self.low or not replicas:
            return max(replicas, self.low)
        is_cool = self.active_s is None or self.active_s + self.cooldown_s < now_s
        return 0 if is_cool else replicas


class Keda:
    """On the requests per second of the service, those that failed included: a trigger that sees overload."""

    interval_s = hpa.SYNC_S
    WINDOW_S = 60.0

    def __init__(self, target: float, low: int, high: int) -> None:
        self._target = target
        self._low = low
        self._high = high
        self._activation = Activation(low)
        self._behavior = hpa.Behavior()
        self._polled_s = -math.inf

    def decide(self, seen: service.Observation, now_s: float) -> int:
        if seen.prometheus.is_blind(now_s):
            return seen.replicas
        value = read_answer(self._ask(seen, now_s))
        replicas = seen.replicas
        if now_s - self._polled_s >= POLL_S:
            self._polled_s = now_s
            replicas = self._activation.poll(replicas, value, now_s)
        if replicas == 0 or replicas != seen.replicas:
            return replicas
        wanted = hpa.replicas_of_external_metric(replicas, value, self._target)
        held = self._behavior.hold(replicas, wanted, now_s)
        return min(max(held, self._low, 1), self._high)

    def _ask(self, seen: service.Observation, now_s: float) -> list[float | None]:
        """sum(rate(nv_inference_request_success[1m])) + sum(rate(nv_inference_request_failure[1m]))"""
        rates = [
            rate
            for pod in seen.pods
            if (rate := seen.prometheus.rate(pod.name, _count_offered, self.WINDOW_S, now_s)) is not None
        ]
        return [sum(rates)] if rates else []


def _count_offered(one: object) -> float:
    return one.success + one.rejected  # type: ignore[attr-defined]
