"""The baseline: each slice that waits takes the first place that it finds, GPU by GPU, lowest start first.

So DRA's scheduler allocates partitionable devices (first fit by device name), in the order of the queue and
without moving anything. Idle instances hold no place, since DRA makes them when a pod comes; at the grain of
a GPU those of frozen GPUs are taken as they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from gpufleet.decide.mig import devices, geometry
from gpufleet.decide.mig.planning import values


@dataclasses.dataclass(slots=True)
class _Place:
    gpu: values.Gpu
    held: list[geometry.Placement]
    idle: list[str]
    dead: set[str] = dataclasses.field(default_factory=set)
    """Profiles that do not fit any more: places only fill up."""


def serve(gpus: Iterable[values.Gpu], demands: Sequence[values.Demand]) -> tuple[values.Outcome, ...]:
    """What each demand gets when they come in this order."""
    places = [_open(gpu) for gpu in gpus]
    return tuple(values.Outcome(demand, _serve(places, demand)) for demand in demands)


def _open(gpu: values.Gpu) -> _Place:
    busy = [one.placement for one in gpu.instances if one.busy]
    idle = [one.placement.profile for one in gpu.instances if not one.busy]
    return _Place(gpu, busy, idle if gpu.is_frozen else [])


def _serve(places: Sequence[_Place], demand: values.Demand) -> int:
    served = 0
    for place in places:
        model = place.gpu.model
        profile = model.profiles_by_name.get(demand.profile)
        if profile is None or (demand.models is not None and model.name not in demand.models):
            continue
        while served < demand.count and _take(place, profile):
            served += 1
        if served == demand.count:
            break
    return served


def _take(place: _Place, profile: devices.Profile) -> bool:
    if place.gpu.is_frozen:
        if profile.name not in place.idle:
            return False
        place.idle.remove(profile.name)
        return True
    if profile.name in place.dead:
        return False
    starts = geometry.legal_starts(place.gpu.model, place.held, profile.name)
    if not starts:
        place.dead.add(profile.name)
        return False
    place.held.append(geometry.Placement(profile.name, starts[0]))
    return True
