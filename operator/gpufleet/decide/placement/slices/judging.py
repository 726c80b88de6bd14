"""One service: which of the sizes whose capacity is known it should have, and whether a move pays."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from gpufleet.decide.autoscaling import forecast
from gpufleet.decide.placement.slices import costs, offers

BEST = "BestSlice"
CHEAPER = "CheaperSlice"
NEEDED = "OtherSliceNeeded"
NOT_WORTH = "MoveDoesNotPay"
LACKING = "SlicesLacking"
MOVED = "SliceChanged"
LOADS_SHORT = "LoadsShort"
PRICE_MISSING = "PriceMissing"
PROFILES_MISSING = "ProfilesMissing"

WANTS = (CHEAPER, NEEDED)
"""Reasons for which a service should move."""
LEAST_SAVING = 0.1
"""Share of the present cost below which profiles and loads are not exact enough to move for."""
LEAST_SEEN_S = 6 * 3600.0
"""Loads that have to be known at least; after a restart they come back from Prometheus."""
_COVERED = 0.9
_HOUR_S = 3600.0
_TINY = 1e-9


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """What is told; `cost` is that of the size that is best, None where nothing can be said."""

    reason: str
    message: str
    cost: costs.Cost | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """What one choice is made from; `sizes` are (offer, requests per second of a server), the present first.

    A server starts in `start_s`, and a GPU is away for `blackout_s` when it is cut.
    """

    sizes: Sequence[tuple[offers.Offer, float]]
    load: costs.Load
    most_servers: int
    start_s: float
    blackout_s: float
    horizon_s: float


def judge(case: Case) -> Choice:
    """The cheapest size that holds the objective at the highest load, if the move to it pays."""
    (present, _), *others = case.sizes
    if not others:
        return Choice(PROFILES_MISSING, "only the present slice has a ModelProfile: measure another one")
    seen_s = len(case.load.loads) * forecast.BIN_S
    least_s = max(LEAST_SEEN_S, case.horizon_s)
    if seen_s < _COVERED * min(least_s, costs.SEEN * forecast.BIN_S):
        said = f"the load of {seen_s / _HOUR_S:.1f} hours is known, and {least_s / _HOUR_S:.0f} are needed"
        return Choice(LOADS_SHORT, said)
    priced = [one for one in case.sizes if one[0].price is not None]
    if priced and present.price is None:
        return Choice(PRICE_MISSING, "its pool has no pricePerGPUHour, and another one has: set it for both")
    computed = [_compute(one, capacity, case) for one, capacity in (priced or case.sizes)]
    fitting = [one for one in computed if one is not None and one.peak <= case.most_servers]
    return _compare(case, computed[0], fitting, is_priced=bool(priced))


def _compute(offer: offers.Offer, capacity: float, case: Case) -> costs.Cost | None:
    """None where one request alone takes longer than the objective allows."""
    return costs.compute(offer, price_of(offer), capacity, case.load) if capacity > _TINY else None


def price_of(offer: offers.Offer) -> float:
    """Of one server for an hour; in GPUs where no pool has a price."""
    return offer.share * (1.0 if offer.price is None else offer.price)


def _compare(
    case: Case, present: costs.Cost | None, fitting: Sequence[costs.Cost], *, is_priced: bool
) -> Choice:
    """Equal costs leave a service where it is; then the fewest servers."""
    if not fitting:
        said = f"no size holds the objective at the highest load with {case.most_servers} servers"
        return Choice(BEST, f"{said}: raise maxReplicas, or the target", present)
    best = min(fitting, key=lambda one: (one.per_hour, one is not present, one.servers, one.offer.name))
    if best is present:
        return Choice(BEST, f"{_tell(best, is_priced=is_priced)}; no other size costs less", best)
    gpu_price = 1.0 if best.offer.price is None else best.offer.price
    move = costs.compute_move(best, price_of(best.offer), gpu_price, case.start_s, case.blackout_s)
    what = _tell(best, is_priced=is_priced)
    if present is None or present not in fitting:
        said = f"{what} would hold the objective"
        limit = f"at most {case.most_servers} servers may be" if present else "alone a request takes too long"
        return Choice(NEEDED, f"{said}, which {case.sizes[0][0].name} does not: {limit}", best)
    saved = present.per_hour - best.per_hour
    share = saved / present.per_hour
    said = f"{what} instead of {_tell(present, is_priced=is_priced)}: {100 * share:.0f} % less"
    if share < LEAST_SAVING - _TINY:
        return Choice(NOT_WORTH, f"{said}, and below {100 * LEAST_SAVING:.0f} % nobody moves", best)
    back_s = _HOUR_S * move / saved
    price = f"the move costs {move:.2f}" + ("" if is_priced else " GPU-hours")
    if back_s > case.horizon_s:
        within = f"within {case.horizon_s / _HOUR_S:.1f} hours"
        return Choice(NOT_WORTH, f"{said}; {price}, not won back {within}", best)
    return Choice(CHEAPER, f"{said}; {price}, won back in {math.ceil(back_s / 60)} min", best)


def _tell(cost: costs.Cost, *, is_priced: bool) -> str:
    unit = " per hour" if is_priced else " GPUs"
    return f"{cost.servers} × {cost.offer.name} (up to {cost.peak}; {cost.per_hour:.2f}{unit} on average)"
