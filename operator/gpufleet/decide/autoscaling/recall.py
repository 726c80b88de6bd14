"""Loads from before the operator started → histories that go on where they ended."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping

from gpufleet.api import triton_service
from gpufleet.decide.autoscaling import forecast, memories

ServiceKey = tuple[str, str]
"""Namespace and name of a TritonService."""
Past = Mapping[ServiceKey, forecast.History]


def build(points: Iterable[tuple[float, float]]) -> forecast.History:
    """Of (end of a bin in seconds since the epoch, mean load in it), in this order."""
    history = forecast.History()
    for at_s, value in points:
        history = history.note(value, at_s - history.bin_s / 2)
    return history


def join(past: forecast.History, own: forecast.History) -> forecast.History:
    """`past`, and then what was seen since; where both know a bin that is closed the past counts."""
    joined = dataclasses.replace(past, look_at=own.look_at)
    if own.index is None or past.index is None:
        return joined
    loads = memoryview(own.loads).cast("f")
    first = own.index - len(loads)
    for offset in range(max(0, past.index + 1 - first), len(loads)):
        value = None if math.isnan(loads[offset]) else loads[offset]
        joined = joined.note(value, (first + offset + 0.5) * joined.bin_s)
    joined = joined.note(None, (own.index + 0.5) * joined.bin_s)
    if joined.index != own.index:
        return joined
    highest = max(joined.highest, own.highest)
    last = joined.last if own.last is None else own.last
    return dataclasses.replace(joined, total=own.total, count=own.count, last=last, highest=highest)


def recall(
    known: memories.Memories,
    services: Iterable[triton_service.TritonService],
    past: Past,
) -> memories.Memories:
    """What is remembered of each service, with its past; one that was made since then has none of it."""
    found = dict(known)
    for service in services:
        about = service.metadata
        before, own = past.get((about.namespace, about.name)), known.get(about.uid)
        if before is None or own is None or not _is_its_own(service, before):
            continue
        found[about.uid] = dataclasses.replace(own, history=join(before, own.history))
    return found


def _is_its_own(service: triton_service.TritonService, past: forecast.History) -> bool:
    """Whether the service is as old as the loads: one of the same name may have been there before."""
    created = service.metadata.creation_timestamp
    if created is None or past.index is None:
        return False
    first = past.index - len(memoryview(past.loads).cast("f"))
    return created.timestamp() < (first + 1) * past.bin_s
