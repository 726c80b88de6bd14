"""What Prometheus holds of the pods of a simulated service, and answers: rates, and samples per pod.

Rates are extrapolated to the window's ends as PromQL does (prometheus/prometheus: promql/functions.go,
extrapolatedRate): a pod that came within the window is believed less than one that fills it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from gpufleet.sim.pods import Counters, ServerPod
from gpufleet.state import samples

NAMESPACE = "bench"
WINDOW_S = 60.0
"""The range of the operator's queries, `prometheus.window` of the chart."""
LOOKBACK_S = 300.0
"""Age from which an instant query finds a sample no more, unless its series was marked stale before."""
_KEPT = 8


class Prometheus:
    """Scrapes all ready pods at the same time; a pod that has ended is stale at the next scrape."""

    def __init__(self, blind: Sequence[tuple[float, float]] = ()) -> None:
        self._blind = blind
        self._series: dict[str, deque[Counters]] = {}

    def is_blind(self, now_s: float) -> bool:
        """Whether it is down now: it neither scrapes nor answers."""
        return any(from_s <= now_s < until_s for from_s, until_s in self._blind)

    def scrape(self, pods: Iterable[ServerPod], now_s: float) -> None:
        """One round."""
        if self.is_blind(now_s):
            return
        ready = [pod for pod in pods if pod.ready_s <= now_s]
        for name in self._series.keys() - {pod.name for pod in ready}:
            del self._series[name]
        for pod in ready:
            self._series.setdefault(pod.name, deque(maxlen=_KEPT)).append(pod.scrape(now_s))

    def last(self, name: str, now_s: float) -> Counters | None:
        """An instant query."""
        series = self._series.get(name)
        if not series or self.is_blind(now_s) or now_s - series[-1].at_s > LOOKBACK_S:
            return None
        return series[-1]

    def rate(
        self, name: str, field: Callable[[Counters], float], window_s: float, now_s: float
    ) -> float | None:
        """PromQL's rate() of one pod; None without two samples in the window."""
        found = self.increase(name, field, window_s, now_s)
        return None if found is None else found / window_s

    def increase(
        self,
        name: str,
        field: Callable[[Counters], float],
        window_s: float,
        now_s: float,
        *,
        counter: bool = True,
    ) -> float | None:
        """PromQL's increase(); without `counter` its delta(), which does not stop at zero."""
        if self.is_blind(now_s):
            return None
        found = [
            (one.at_s, field(one))
            for one in self._series.get(name, ())
            if now_s - window_s < one.at_s <= now_s
        ]
        return extrapolate(found, now_s - window_s, now_s, counter=counter)

    def sample(self, name: str, now_s: float) -> samples.PodSample | None:
        """All that the operator's queries answer about a pod (observe/queries.py)."""
        last = self.last(name, now_s)
        if last is None:
            return None

        def rate(field: Callable[[Counters], float]) -> float | None:
            return self.rate(name, field, WINDOW_S, now_s)

        success, executions = rate(lambda one: one.success), rate(lambda one: one.executions)
        compute_s, shed = rate(lambda one: one.compute_s), rate(lambda one: one.rejected)
        busy = None
        if success is not None and executions is not None and compute_s is not None:
            busy = compute_s / success * executions if success > 0 else 0.0
        return samples.PodSample(
            age_s=now_s - last.at_s,
            queue_s=rate(lambda one: one.queue_s),
            served=success,
            failed=shed,
            shed=shed,
            pending=last.pending,
            busy=busy,
            arriving=self._arriving(name, now_s),
            latency_s=last.latency_s if last.latency_s > 0 else None,
        )

    def _arriving(self, name: str, now_s: float) -> float | None:
        """PromQL's irate() over the same window."""
        found = [one for one in self._series.get(name, ()) if now_s - WINDOW_S < one.at_s <= now_s][-2:]
        if len(found) < 2:
            return None
        before, last = found
        came = last.success + last.rejected - before.success - before.rejected
        return came / (last.at_s - before.at_s)

    def look(self, names: Iterable[str], number: int, now_s: float) -> samples.Look:
        """One round of the operator's queries."""
        if self.is_blind(now_s):
            return samples.Look(number, now_s, error="Prometheus did not answer in time")
        found = ((name, self.sample(name, now_s)) for name in names)
        return samples.Look(number, now_s, {(NAMESPACE, name): one for name, one in found if one is not None})


def extrapolate(
    found: Sequence[tuple[float, float]], from_s: float, until_s: float, *, counter: bool = True
) -> float | None:
    """The increase over the whole window of a counter without resets, seen at these times."""
    if len(found) < 2:
        return None
    (first_s, first), (last_s, last) = found[0], found[-1]
    seen_s, increase = last_s - first_s, last - first
    before_s, after_s = first_s - from_s, until_s - last_s
    if counter and increase > 0 and first >= 0:
        before_s = min(before_s, seen_s * first / increase)
    step_s = seen_s / (len(found) - 1)
    before_s, after_s = (one if one < 1.1 * step_s else step_s / 2 for one in (before_s, after_s))
    return increase * (seen_s + before_s + after_s) / seen_s
