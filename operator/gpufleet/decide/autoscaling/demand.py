"""The load that servers are to carry, against what one carries: what the objective is weighed by."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping

from gpufleet.api import autoscaling, triton_service
from gpufleet.decide.autoscaling import capacity, forecast, signals

UNPROVEN = 0.1
"""Share of the load that is provided for beyond it while no forecast could be judged."""
DEVIATIONS = math.sqrt(math.pi / 2)
"""Standard deviations in a mean absolute one, of what is normally distributed."""
NOISE = 2.0
"""Standard deviations within which a load has not left its level."""
MOST_MARGIN = 0.5
"""A load that leaps makes forecasts wrong by more than any margin would carry."""


def weigh(
    service: triton_service.TritonService,
    readings: signals.Readings,
    carried: Mapping[str, float],
    learnt: capacity.Learnt,
    history: forecast.History,
    horizon_s: float,
    now_s: float,
) -> autoscaling.Demand | None:
    """Load against capacity; None where there is no objective, or nothing is known of either."""
    offered = readings.offered.value
    spec = service.spec.autoscaling
    if service.spec.objective is None or spec is None or offered is None:
        return None
    found = capacity.find(service, readings, carried, learnt)
    if found is None or found.per_server <= 0:
        return None
    ahead = forecast.predict(history, horizon_s, now_s)
    expected, margin = foresee(spec, offered, ahead)
    return autoscaling.Demand(
        offered=_round(offered),
        expected=_round(expected),
        margin=_round(margin),
        noise=None if ahead is None or ahead.deviation is None else _round(DEVIATIONS * ahead.deviation),
        method=ahead.method if ahead else "LastValue",
        horizon_seconds=math.ceil(horizon_s),
        capacity=_round(found.per_server),
        source=found.source,
    )


def foresee(
    spec: autoscaling.Autoscaling, offered: float, ahead: forecast.Forecast | None
) -> tuple[float, float]:
    """(expected load, what is provided for beyond it), in requests per second.

    A load within its noise is expected at its level; one that has left it, where it is now.
    """
    expected = offered
    if ahead is not None and ahead.method != "LastValue":
        expected = max(offered, ahead.value)
    if spec.headroom_percent is not None:
        return expected, expected * spec.headroom_percent / (100 - spec.headroom_percent)
    if ahead is None or ahead.deviation is None:
        return expected, expected * UNPROVEN
    deviation = DEVIATIONS * ahead.deviation
    if ahead.method == "LastValue" and ahead.level is not None:
        is_noise = abs(offered - ahead.level) <= NOISE * deviation
        expected = ahead.level if is_noise else offered
    z = statistics.NormalDist().inv_cdf(spec.confidence_percent / 100)
    return expected, min(expected * MOST_MARGIN, z * deviation)


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
