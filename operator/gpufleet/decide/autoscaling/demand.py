"""The load that servers are to carry, against what one carries: what the objective is weighed by."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from gpufleet.api import autoscaling, triton_service
from gpufleet.decide.autoscaling import capacity, forecast, rehearsal, signals

BURST = 1.5
"""So many times the load of the window, and half a server's load more, is a burst."""


@dataclasses.dataclass(frozen=True, slots=True)
class Past:
    """What is known of a service from before; a server takes `start_s` to start."""

    history: forecast.History
    rehearsed: rehearsal.Choice
    learnt: capacity.Learnt
    start_s: float


def weigh(
    service: triton_service.TritonService,
    readings: signals.Readings,
    carried: Mapping[str, float],
    past: Past,
    now_s: float,
    rate: float = 1.0,
) -> autoscaling.Demand | None:
    """Load against capacity; None where there is no objective, or nothing is known of either.

    A server carries what it does whatever the `rate` by which the load is supposed to be multiplied.
    """
    offered = readings.offered.value
    spec = service.spec.autoscaling
    if service.spec.objective is None or spec is None or offered is None:
        return None
    found = capacity.find(service, readings, carried, past.learnt)
    if found is None or found.per_server <= 0:
        return None
    ahead = forecast.predict(past.history, past.start_s, now_s)
    expected, margin = foresee(spec, offered, ahead, past.rehearsed, found.per_server)
    if (arriving := readings.arriving or 0.0) > max(BURST * offered, offered + found.per_server / 2):
        expected = max(expected, arriving)
    return autoscaling.Demand(
        offered=_round(offered * rate),
        expected=_round(expected * rate),
        margin=_round(margin * rate),
        noise=None if ahead is None or ahead.deviation is None else _round(ahead.deviation * rate),
        method=ahead.method if ahead else "LastValue",
        horizon_seconds=math.ceil(past.start_s),
        capacity=_round(found.per_server),
        source=found.source,
    )


def foresee(
    spec: autoscaling.Autoscaling,
    offered: float,
    ahead: forecast.Forecast | None,
    rehearsed: rehearsal.Choice = rehearsal.DEFAULT,
    per_server: float = 0.0,
) -> tuple[float, float]:
    """(expected load, what is provided for beyond it), in requests per second."""
    expected = offered
    if ahead is not None and ahead.method != "LastValue":
        expected = max(offered, ahead.value)
    if spec.headroom_percent is not None:
        return expected, expected * spec.headroom_percent / (100 - spec.headroom_percent)
    spare = rehearsed.spare * per_server
    if rehearsed.follows_trend:
        return expected, expected * rehearsed.margin + spare
    # The margin was rehearsed against what comes without being foreseen.
    return expected, max(0.0, offered * (1 + rehearsed.margin) + spare - expected)


def describe(service: triton_service.TritonService, demand: autoscaling.Demand | None) -> str:
    """How many servers the objective needs, in words."""
    objective, spec = service.spec.objective, service.spec.autoscaling
    if objective is None or spec is None:
        return ""
    latency = objective.latency
    within = f"{latency.percentile} within {latency.target_milliseconds} ms"
    if demand is None:
        return f"nobody asks, so {within} needs none"
    ahead = f", {demand.expected:g} are expected within {demand.horizon_seconds} s ({demand.method})"
    return (
        f"{demand.offered:g} requests per second come{ahead} and {demand.margin:g} more provided for; "
        f"a server carries {demand.capacity:g} with {within} ({demand.source})"
    )


def _round(value: float) -> float:
    return min(1e12, round(value, 3))
