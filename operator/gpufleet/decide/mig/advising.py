"""Right-sizing of all services in one pass: what is remembered of each, and the advice that is new."""

from __future__ import annotations

import dataclasses
import datetime
import zlib
from collections import defaultdict
from collections.abc import Mapping

from gpufleet.api import accelerator as accelerators
from gpufleet.api import triton_service
from gpufleet.decide.mig import rightsizing, usage
from gpufleet.state import names, samples, snapshot

_FIRST_MINUTES = 5
_EVERY_MINUTES = 5


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """Advice that status does not have yet."""

    service: triton_service.TritonService
    advice: rightsizing.Advice


def advise_all(
    view: snapshot.Snapshot, look: samples.Look, before: Mapping[str, usage.Usage], now: datetime.datetime
) -> tuple[dict[str, usage.Usage], tuple[Wanted, ...]]:
    """Usage by the UID of each service with an accelerator, and what is to be written.

    Nothing is said of a service before it was seen for some minutes, nor of one that never had advice and
    cannot be sized. What is in status stays while word and profile are the same, whatever the figures.
    """
    if not look.number:
        return dict(before), ()
    pods: dict[tuple[str, str], list[samples.PodSample]] = defaultdict(list)
    for pod in view.pods:
        name, sample = pod.labels.get(names.SERVICE_LABEL), look.pods.get((pod.namespace, pod.name))
        if name and sample and pod.ready and not pod.deleting:
            pods[pod.namespace, name].append(sample)
    found: dict[str, usage.Usage] = {}
    wanted: list[Wanted] = []
    for service in view.services:
        metadata, assignment = service.metadata, service.status.assignment
        assigned = assignment.accelerator if assignment else None
        if assigned is None:
            continue
        seen = pods[metadata.namespace, metadata.name]
        device = f"{assigned.resource} {','.join(assigned.products)}"
        last = before.get(metadata.uid, usage.Usage())
        known = usage.note(last, device, look.number, now.timestamp(), seen)
        found[metadata.uid] = known
        if known is last or not _is_due(metadata.uid, known, now):
            continue
        objective = service.spec.objective
        target_s = objective.latency.target_milliseconds / 1000 if objective else None
        advice = rightsizing.advise(known, assigned, target_s)
        if _is_news(advice, service.status.right_sizing, _present(assigned)):
            wanted.append(Wanted(service, advice))
    return found, tuple(wanted)


def _is_due(uid: str, known: usage.Usage, now: datetime.datetime) -> bool:
    """Every few minutes, services in turn; not before some looks, of which the first may lack a series."""
    minute = int(now.timestamp() // 60)
    return known.minutes >= _FIRST_MINUTES and (minute + zlib.crc32(uid.encode())) % _EVERY_MINUTES == 0


def _present(assigned: accelerators.AssignedAccelerator) -> str:
    _, size = rightsizing.find_size(assigned)
    return size.name if size else ""


def _is_news(advice: rightsizing.Advice, told: triton_service.RightSizing | None, present: str) -> bool:
    if told is None:
        return advice.reason != rightsizing.NOT_SIZED
    if advice.reason == rightsizing.SERIES_SHORT:
        # After a restart of the operator nothing is remembered, and nothing is known better. What was said of
        # another device, or was followed, holds no more.
        changes = told.reason in (rightsizing.DOWNSIZE, rightsizing.UPSIZE)
        holds = told.reason != rightsizing.SERIES_MISSING and changes == (told.profile != present)
        return not holds
    return (advice.reason, advice.profile) != (told.reason, told.profile)
