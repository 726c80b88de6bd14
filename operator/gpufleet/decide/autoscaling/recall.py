"""Loads from before the operator started → histories that go on where they ended."""

from __future__ import annotations

import array
import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

from gpufleet.api import triton_service
from gpufleet.decide.autoscaling import forecast, memories

ServiceKey = tuple[str, str]
"""Namespace and name of a TritonService."""
Past = Mapping[ServiceKey, forecast.History]


JUDGED_S = 6 * 3600.0
"""Of the newest loads forecasts are judged again, more than margins are chosen by; older ones are known."""


def build(points: Sequence[tuple[float, float]]) -> forecast.History:
    """Of (end of a bin in seconds since the epoch, mean load in it), in this order."""
    from_s = points[-1][0] - JUDGED_S if points else 0.0
    history = _pack([one for one in points if one[0] <= from_s])
    for at_s, value in points:
        if at_s > from_s:
            history = history.note(value, at_s - history.bin_s / 2)
    return history


def _pack(points: Sequence[tuple[float, float]]) -> forecast.History:
    """Loads in which no forecast is judged: so many bins take seconds to judge."""
    history = forecast.History()
    bins = {math.floor(at_s / history.bin_s) - 1: value for at_s, value in points if math.isfinite(value)}
    if not bins:
        return history
    after, first = max(bins) + 1, max(min(bins), max(bins) + 1 - forecast.BINS)
    loads = [bins.get(index, math.nan) for index in range(first, after)]
    packed = array.array("f", loads).tobytes()
    return dataclasses.replace(history, loads=packed, index=after, highest=max(bins.values()), last=loads[-1])


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
