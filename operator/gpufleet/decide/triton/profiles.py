"""What pods have counted → a ModelProfile, and whether one still holds."""

from __future__ import annotations

import datetime
import math
from collections import defaultdict
from collections.abc import Iterable

from gpufleet.api import accelerator as accelerators
from gpufleet.api import model_profile
from gpufleet.decide.triton import service_time
from gpufleet.state import models

FEWEST_BATCHES = 10
"""Batches of one size below which their mean says nothing."""
FEWEST_TOTAL = 200
SHORTEST_S = 60
"""A pod that was measured for less is still warming up."""
DRIFT = 0.2
"""Relative error of a profile's line from which it no longer describes the model."""
_US = 1e6


def pool_points(measured: Iterable[models.Measured], slowdown: float = 1.0) -> list[service_time.Point]:
    """The points of several pods as one; sizes that were seen too seldom, or too shortly, are left out.

    `slowdown` is what several instances cost each other: the points are those of one alone.
    """
    counts: dict[int, int] = defaultdict(int)
    totals_us: dict[int, int] = defaultdict(int)
    for one in measured:
        if one.window_s < SHORTEST_S:
            continue
        for batch in one.batches:
            counts[batch.size] += batch.count
            totals_us[batch.size] += batch.total_us
    return [
        service_time.Point(size, totals_us[size] / counts[size] / slowdown / _US, counts[size])
        for size in sorted(counts)
        if counts[size] >= FEWEST_BATCHES
    ]


def describe_lack(points: list[service_time.Point]) -> str:
    """What is missing for a line, and what would bring it; empty where nothing is."""
    if sum(point.count for point in points) >= FEWEST_TOTAL and len(points) > 1:
        return ""
    sizes = ", ".join(str(point.batch) for point in points) or "none"
    return (
        f"no line yet: it takes {SHORTEST_S} s and {FEWEST_TOTAL} batches of two sizes, at least "
        f"{FEWEST_BATCHES} of each, and sizes seen so far are {sizes}; "
        "wait for requests that overlap, or run gpufleet profile"
    )


def build(
    service: str,
    model: str,
    hardware: str,
    instances: int,
    points: list[service_time.Point],
    now: datetime.datetime,
) -> model_profile.ModelProfileSpec | None:
    """The record of what users' requests have shown; None where no line can be fitted."""
    fitted = None if describe_lack(points) else service_time.fit(points)
    if fitted is None:
        return None
    return model_profile.ModelProfileSpec(
        service=service,
        model=model,
        hardware=hardware,
        measured_at=now.replace(microsecond=0),
        instances=instances,
        points=[
            model_profile.Point(
                batch_size=point.batch, count=point.count, mean_microseconds=round(point.seconds * _US)
            )
            for point in fitted.points
        ],
        fit=model_profile.Fit(
            alpha_microseconds=round(fitted.time.alpha_s * _US, 1),
            beta_microseconds=round(fitted.time.beta_s * _US, 1),
            r_squared=round(fitted.r_squared, 4),
            error=round(fitted.error, 4),
        ),
    )


def read_time(profile: model_profile.ModelProfileSpec) -> service_time.ServiceTime:
    """The line of a profile."""
    return service_time.ServiceTime(profile.fit.alpha_microseconds / _US, profile.fit.beta_microseconds / _US)


def compute_ratio(time: service_time.ServiceTime, points: list[service_time.Point]) -> float | None:
    """How much longer than the line says batches take, weighted by their number; None without points."""
    known = [(point, time.predict_s(point.batch)) for point in points]
    total = math.fsum(point.count for point, expected_s in known if expected_s > 0)
    if not total:
        return None
    ratios = (point.count * point.seconds / expected_s for point, expected_s in known if expected_s > 0)
    return math.fsum(ratios) / total


def has_drifted(profile: model_profile.ModelProfileSpec, points: list[service_time.Point]) -> bool:
    """Whether the line is off by more than `DRIFT`; too few batches prove nothing."""
    if sum(point.count for point in points) < FEWEST_TOTAL:
        return False
    ratio = compute_ratio(read_time(profile), points)
    return ratio is not None and not 1 - DRIFT <= ratio <= 1 + DRIFT


def describe_hardware(assigned: accelerators.AssignedAccelerator | None) -> str:
    """What a profile holds for: other slices and products have other lines."""
    if assigned is None:
        return "cpu"
    products = ",".join(sorted(assigned.products)) or "any"
    return f"{assigned.count} × {assigned.resource} on {products}"[:512]


def describe(profile: model_profile.ModelProfileSpec) -> str:
    """The line in a sentence."""
    fit = profile.fit
    return (
        f"τ(b) = {fit.alpha_microseconds / 1000:.2f} ms + {fit.beta_microseconds / 1000:.3f} ms · b "
        f"(R² {fit.r_squared:.2f})"
    )
