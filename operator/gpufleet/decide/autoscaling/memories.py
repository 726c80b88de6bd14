"""All services of one pass: the scaling of each, and what is to be remembered of it until the next."""

from __future__ import annotations

import dataclasses
import datetime
from collections import defaultdict
from collections.abc import Mapping, Sequence

from gpufleet.api import triton_service
from gpufleet.decide.autoscaling import behavior, scaler
from gpufleet.state import fleet, names, samples, snapshot


@dataclasses.dataclass(frozen=True, slots=True)
class Remembered:
    """Of one service: its windows, and the servers it had when it was looked at last."""

    windows: behavior.Memory
    replicas: int


Memories = Mapping[str, Remembered]


def scale_all(
    view: snapshot.Snapshot, look: samples.Look, before: Memories, now: datetime.datetime
) -> tuple[Mapping[str, scaler.Scaling], Memories]:
    """By UID, for every service whose mode is not Off. Nothing is decided before Prometheus was asked."""
    scaled = [one for one in view.services if one.spec.autoscaling and one.spec.autoscaling.mode != "Off"]
    if not scaled or not look.number:
        return {}, before if scaled else {}
    pods: dict[tuple[str, str], list[fleet.Pod]] = defaultdict(list)
    for pod in view.pods:
        if name := pod.labels.get(names.SERVICE_LABEL):
            pods[pod.namespace, name].append(pod)
    scalings: dict[str, scaler.Scaling] = {}
    after: dict[str, Remembered] = {}
    for service in scaled:
        uid, key = service.metadata.uid, (service.metadata.namespace, service.metadata.name)
        scalings[uid], after[uid] = _scale(service, view, pods[key], look, before.get(uid), now.timestamp())
    return scalings, after


def _scale(
    service: triton_service.TritonService,
    view: snapshot.Snapshot,
    pods: Sequence[fleet.Pod],
    look: samples.Look,
    before: Remembered | None,
    now_s: float,
) -> tuple[scaler.Scaling, Remembered]:
    current = find_replicas(service, view)
    windows = before.windows if before else behavior.Memory(since_s=now_s)
    if before and before.replicas != current:
        windows = windows.note_change(current - before.replicas, now_s)
    spec = service.spec.autoscaling
    if spec is None:
        raise ValueError(f"{service.metadata.name} is not scaled by load")
    scaling, windows = scaler.scale(spec, pods, current, look, windows, now_s)
    return scaling, Remembered(windows, current)


def find_replicas(service: triton_service.TritonService, view: snapshot.Snapshot) -> int:
    """Servers that it has: assigned, or those that run where the assignment was lost, at first one.

    In Advisory `spec.replicas` says; in Active the API server refuses it.
    """
    if service.spec.replicas is not None:
        return service.spec.replicas
    before = service.status.assignment
    return before.replicas if before else view.live_replicas.get(service.metadata.uid, 1)
