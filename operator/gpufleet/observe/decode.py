"""Pods and nodes as the API server writes them, reduced to the little that decisions read.

A fleet has tens of thousands of pods; only these values are kept of them.
"""

from __future__ import annotations

import datetime
import logging
from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from gpufleet import clock
from gpufleet.observe import constraints, wire
from gpufleet.state import fleet, names

_log = logging.getLogger(__name__)

_CRASH_LOOP = "CrashLoopBackOff"


class _Resources(wire.Wire):
    requests: dict[str, str | int] | None = None
    limits: dict[str, str | int] | None = None


class _Container(wire.Wire):
    resources: _Resources = msgspec.field(default_factory=_Resources)
    restart_policy: str | None = None


class _PodSpec(constraints.PodSpec, kw_only=True):
    containers: list[_Container]
    init_containers: list[_Container] | None = None
    node_name: str | None = None


class _Waiting(wire.Wire):
    reason: str | None = None
    message: str | None = None


class _Terminated(wire.Wire):
    exit_code: int = 0
    reason: str | None = None
    message: str | None = None
    finished_at: str | None = None


class _State(wire.Wire):
    waiting: _Waiting | None = None
    terminated: _Terminated | None = None


class _ContainerStatus(wire.Wire):
    name: str
    restart_count: int = 0
    state: _State = msgspec.field(default_factory=_State)
    last_state: _State = msgspec.field(default_factory=_State)


class _PodStatus(wire.Wire):
    phase: fleet.PodPhase = "Pending"
    reason: str | None = None
    message: str | None = None
    start_time: str | None = None
    conditions: list[wire.Condition] | None = None
    container_statuses: list[_ContainerStatus] | None = None
    init_container_statuses: list[_ContainerStatus] | None = None
    pod_ip: str | None = msgspec.field(default=None, name="podIP")


class _Pod(wire.Wire):
    metadata: wire.Meta
    spec: _PodSpec
    status: _PodStatus = msgspec.field(default_factory=_PodStatus)


def decode_pod(raw: dict[str, Any]) -> fleet.Pod | None:
    """A pod of ours or one that holds extended resources; None for any other."""
    try:
        pod = msgspec.convert(raw, _Pod)
        requests = _requests_of(pod.spec)
    except (msgspec.ValidationError, ValueError) as error:
        _log.warning("pod %s cannot be read: %s", raw["metadata"]["name"], error)
        return None
    labels = pod.metadata.labels or {}
    if not requests and labels.get(names.MANAGED_BY) != names.MANAGER:
        return None
    conditions = {condition.type: condition for condition in pod.status.conditions or ()}
    ready = conditions.get("Ready")
    is_ready = ready is not None and ready.status == "True"
    return fleet.Pod(
        uid=pod.metadata.uid,
        namespace=pod.metadata.namespace,
        name=pod.metadata.name,
        labels=labels,
        node=pod.spec.node_name or "",
        ip=pod.status.pod_ip or "",
        phase=pod.status.phase,
        ready=is_ready,
        deleting=pod.metadata.deletion_timestamp is not None,
        requests=requests,
        owner_uid=_controller_of(pod.metadata),
        unschedulable_message=_unschedulable_message(conditions.get("PodScheduled")),
        containers=tuple(_container_states(pod.status)),
        created_s=_seconds(pod.metadata.creation_timestamp),
        ready_s=_seconds(ready.last_transition_time) if ready and is_ready else None,
        reason=pod.status.reason or "",
        message=pod.status.message or "",
        started_at=pod.status.start_time or "",
        interrupted=_find_interruption(pod, conditions.get("DisruptionTarget")),
        constraints=fleet.Constraints() if pod.spec.node_name else constraints.read(pod.spec),
        evictable=constraints.is_evictable(
            _kind_of_controller(pod.metadata), pod.metadata.annotations or {}, labels
        ),
    )


def _requests_of(spec: _PodSpec) -> dict[str, int]:
    """What the scheduler books: all containers with sidecars, or the largest init container if more.

    https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers
    """
    sidecars: Counter[str] = Counter()
    largest: Counter[str] = Counter()
    for container in spec.init_containers or ():
        wanted = Counter(_wanted_by(container))
        if container.restart_policy == "Always":
            sidecars += wanted
        else:
            largest |= wanted + sidecars
    for container in spec.containers:
        sidecars += Counter(_wanted_by(container))
    return dict(sorted((sidecars | largest).items()))


def _wanted_by(container: _Container) -> dict[str, int]:
    return wire.extended(container.resources.limits) | wire.extended(container.resources.requests)


def _controller_of(metadata: wire.Meta) -> str:
    return next((owner.uid for owner in metadata.owner_references or () if owner.controller), "")


def _kind_of_controller(metadata: wire.Meta) -> str:
    return next((owner.kind for owner in metadata.owner_references or () if owner.controller), "")


def _seconds(written: str | None) -> float | None:
    """A time of the API server as seconds since the epoch; what cannot be read is not known."""
    try:
        read = datetime.datetime.fromisoformat(written or "")
        return read.timestamp() if read.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _unschedulable_message(scheduled: wire.Condition | None) -> str:
    if scheduled is None or scheduled.status != "False" or scheduled.reason != "Unschedulable":
        return ""
    return scheduled.message or ""


def _message_of(waiting: _Waiting, ended: _Terminated | None) -> str:
    """Why it waits; what a container that waits for its next start said at its end tells more."""
    last = (ended.message if ended else None) or ""
    if waiting.reason == _CRASH_LOOP:
        return last or waiting.message or ""
    return waiting.message or last


def _find_interruption(pod: _Pod, target: wire.Condition | None) -> fleet.Interruption | None:
    """None where its containers had ended before; deletionTimestamp is when its grace is over."""
    found = None
    if target is not None and target.status == "True":
        found = fleet.Interruption(target.reason or "", target.last_transition_time or "")
    elif deadline := pod.metadata.deletion_timestamp:
        grace = datetime.timedelta(seconds=pod.metadata.deletion_grace_period_seconds or 0)
        asked = datetime.datetime.fromisoformat(deadline) - grace
        found = fleet.Interruption(fleet.DELETED, clock.to_rfc3339(asked))
    ended = [one.state.terminated for one in pod.status.container_statuses or ()]
    if found and ended and all(one is not None and (one.finished_at or "") < found.at for one in ended):
        return None
    return found


def _container_states(status: _PodStatus) -> Iterable[fleet.ContainerState]:
    """What is not simply running: each container that waits, has ended, or was restarted."""
    for one in [*(status.init_container_statuses or ()), *(status.container_statuses or ())]:
        ended = one.state.terminated or one.last_state.terminated
        if one.state.waiting is None and ended is None and not one.restart_count:
            continue
        waiting = one.state.waiting or _Waiting()
        yield fleet.ContainerState(
            name=one.name,
            waiting_reason=waiting.reason or "",
            terminated_reason=(ended.reason or "") if ended else "",
            exit_code=ended.exit_code if ended else None,
            message=_message_of(waiting, ended),
            restarts=one.restart_count,
            finished_at=(ended.finished_at or "") if ended else "",
        )
