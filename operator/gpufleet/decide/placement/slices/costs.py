"""What a size of slice would have cost over the loads that were seen, and what a move to it costs."""

from __future__ import annotations

import dataclasses
import math

import numpy
from numpy.typing import NDArray

from gpufleet.api import autoscaling
from gpufleet.decide.autoscaling import demand, forecast, rehearsal
from gpufleet.decide.placement.slices import offers

SEEN = round(24 * 3600 / forecast.BIN_S)
"""Newest bins that count: a day."""
_HOUR_S = 3600.0
_TINY = 1e-9

Loads = NDArray[numpy.float64]
"""Requests per second of closed bins; those without evidence are left out."""


@dataclasses.dataclass(frozen=True, slots=True)
class Cost:
    """Of one offer: mean price per hour, servers for the last load and for the highest one."""

    offer: offers.Offer
    per_hour: float
    servers: int
    peak: int


def read_loads(history: forecast.History) -> Loads:
    """Those of the last day."""
    values = numpy.frombuffer(history.loads, numpy.float32)[-SEEN:].astype(numpy.float64)
    known: Loads = values[numpy.isfinite(values)]
    return known


@dataclasses.dataclass(frozen=True, slots=True)
class Load:
    """What servers are to carry: `loads` times `factor`, and `spare` requests per second while anybody asks.

    It does not depend on how large a server is.
    """

    loads: Loads
    factor: float
    spare: float
    fewest: int


def build_load(
    spec: autoscaling.Autoscaling, loads: Loads, rehearsed: rehearsal.Choice, carries: float
) -> Load:
    """With the margin that the autoscaler has for servers that carry so many requests per second."""
    expected, margin = demand.foresee(spec, 1.0, None, rehearsed)
    spare = 0.0 if spec.headroom_percent is not None else rehearsed.spare * carries
    return Load(loads, expected + margin, spare, spec.min_replicas)


def compute(offer: offers.Offer, price: float, capacity: float, load: Load) -> Cost:
    """For servers that carry `capacity` requests per second each, at `price` per hour of one server.

    Each bin has the servers that the autoscaler would give its load; its windows, which only delay, are left
    out. More than maxReplicas are counted, so that a peak can be told.
    """
    provided = load.loads * load.factor + numpy.where(load.loads > 0, load.spare, 0.0)
    servers = numpy.maximum(load.fewest, numpy.ceil(provided / capacity - _TINY))
    return Cost(offer, float(servers.mean()) * price, int(servers[-1]), int(servers.max()))


def compute_move(new: Cost, price: float, gpu_price: float, start_s: float, blackout_s: float) -> float:
    """Servers of both sizes run while those of the new one start; GPUs that are cut for it serve nobody."""
    lacking = max(0, new.servers - new.offer.free)
    cut = math.ceil(lacking * new.offer.share - _TINY)
    return (new.servers * price * start_s + cut * gpu_price * blackout_s) / _HOUR_S
