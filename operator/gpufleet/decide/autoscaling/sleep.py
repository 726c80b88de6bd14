"""Scale to zero and back: when the last server may go, and what brings the first one back.

A Service does not buffer: who calls while nothing runs is refused the connection.
"""

from __future__ import annotations

import dataclasses

from gpufleet.api import autoscaling, triton_service
from gpufleet.decide.autoscaling import signals
from gpufleet.state import names

ASLEEP = "ScaledToZero"
WOKEN = "Woken"
NOT_IDLE_YET = "NotIdleForLong"


@dataclasses.dataclass(frozen=True, slots=True)
class Sleep:
    """What keeps a service awake, or wakes it; `idle_since_s` is remembered until the next pass."""

    floor: int
    reason: str = ""
    message: str = ""
    idle_since_s: float | None = None
    mark: str = ""
    """The value of the annotation that has been answered."""


def read_mark(service: triton_service.TritonService) -> str:
    """The annotation's value; another one wakes."""
    return service.metadata.annotations.get(names.WAKE_ANNOTATION, "")[:256]


def look(
    service: triton_service.TritonService,
    spec: autoscaling.Autoscaling,
    found: signals.Readings,
    current: int,
    waiting: float,
    idle_since_s: float | None,
    now_s: float,
) -> Sleep:
    """The fewest servers that sleeping allows: 0 or 1; always 0 where minReplicas is above it.

    `waiting` are requests that a gateway holds back for this service.
    """
    mark = read_mark(service)
    if spec.min_replicas > 0:
        return Sleep(0, mark=mark)
    if current == 0:
        return _find_waker(service, mark, waiting)
    is_idle = found.offered.kind == "Idle" and not waiting and not _is_called(service, mark)
    if not is_idle:
        return Sleep(1, NOT_IDLE_YET, "somebody asks, or it is not known that nobody does", None, mark)
    since_s = now_s if idle_since_s is None else min(idle_since_s, now_s)
    left_s = round(since_s + spec.idle_seconds - now_s)
    if left_s > 0:
        return Sleep(1, NOT_IDLE_YET, f"nobody has to ask for {left_s} s more", since_s, mark)
    return Sleep(0, idle_since_s=since_s, mark=mark)


def _find_waker(service: triton_service.TritonService, mark: str, waiting: float) -> Sleep:
    if waiting > 0:
        return Sleep(1, WOKEN, f"{waiting:g} requests wait at the gateway", mark=mark)
    if _is_called(service, mark):
        return Sleep(1, WOKEN, f"the annotation {names.WAKE_ANNOTATION} says {mark!r}", mark=mark)
    return Sleep(0, mark=mark)


def _is_called(service: triton_service.TritonService, mark: str) -> bool:
    """Whether the annotation has a value that has not been answered."""
    before = service.status.autoscaling
    return bool(mark) and before is not None and mark != before.woken


def describe_zero(cold_start_s: float) -> str:
    """What the first caller sees."""
    return (
        "no server runs and callers are refused the connection; wake it with kubectl annotate --overwrite "
        f"{names.WAKE_ANNOTATION}=$(date +%s), a schedule or a gateway's waiting requests: "
        f"the first server takes about {cold_start_s:.0f} s"
    )
