"""The policy of Triton's own chart (triton-inference-server/server: deploy/k8s-onprem/values.yaml).

An HPA on `avg_time_queue_us` with a target of 50, from 1 to 3 replicas. The query of the chart is kept as it
is, with both faults of triton-inference-server/server#8979: the mean over models counts idle ones in full,
and the divisor is one too large.
"""

from __future__ import annotations

from collections.abc import Iterable

from gpufleet.sim import service
from tests.bench.autoscalers import hpa

STOCK_TARGET_US = 50.0
STOCK_MAX = 3
_WINDOW_S = 30.0


def avg_time_queue_us(models: Iterable[tuple[float, float]]) -> float:
    """Of (microseconds in the queue, requests) within the window, by model."""
    ratios = [queue_us / (1 + requests) for queue_us, requests in models]
    return sum(ratios) / len(ratios)


class ChartHpa(hpa.Hpa):
    """Here every server has one model: the first fault does not show."""

    def want(self, seen: service.Observation, now_s: float) -> int | None:
        values = hpa.read_pods(seen, {one.name: self._read(seen, one.name, now_s) for one in seen.pods})
        return hpa.replicas_of_pods_metric(seen.replicas, values, self._target)

    def _read(self, seen: service.Observation, name: str, now_s: float) -> float | None:
        queue_s = seen.prometheus.increase(name, lambda one: one.queue_s, _WINDOW_S, now_s, counter=False)
        answered = seen.prometheus.increase(name, lambda one: one.success, _WINDOW_S, now_s, counter=False)
        if queue_s is None or answered is None:
            return None
        return avg_time_queue_us([(1e6 * queue_s, answered)])
