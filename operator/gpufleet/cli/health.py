"""What is wrong with a fleet, what waits, and what is advised and not done; pure.

Only what a person should look at now is wrong: a gang that waits for room is not, nor is a server that
starts.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from gpufleet.api import reasons
from gpufleet.cli import picture
from gpufleet.decide.mig.repartition import reasons as mig_reasons

Level = Literal["wrong", "unknown", "waits", "advised"]

GRACE_S = 120.0
"""How long a service may be on its way before it counts as not ready."""
STALE_S = 120.0
"""Samples that are older say nothing of now."""
RECENT_S = 86_400.0
"""A job that has failed for good is told of for so long; its record stays for ever."""
CONTROLLER = "gpufleet.dev/operator"
"""As decide/training/lifecycle.py has it, which takes too long to load."""
_SIZES = ("SmallerFits", "LargerNeeded", "CheaperSlice", "OtherSliceNeeded", "SlicesLacking")
"""Of right-sizing and of the choice of a slice, where another size would be right."""
_ON_THE_WAY = (reasons.PODS_NOT_READY, reasons.ROLLOUT_IN_PROGRESS, reasons.AWAITING_ASSIGNMENT, "")


class Finding(msgspec.Struct, rename="camel"):
    """One thing to be told; `since` is when it began."""

    level: Level
    kind: str
    name: str
    reason: str
    message: str = ""
    since: datetime.datetime | None = None


class About(msgspec.Struct, rename="camel"):
    """The operator's words about itself, `/about`."""

    version: str = ""
    leader: str = ""
    silent_watches: list[str] = []
    preemption: str = ""
    prometheus: dict[str, Any] = {}


def judge(found: Iterable[Finding]) -> tuple[int, str]:
    """(exit code, verdict in a sentence): 1 where something is wrong, 2 where nobody can tell, else 0."""
    levels = [one.level for one in found]
    wrong, unknown = levels.count("wrong"), levels.count("unknown")
    if wrong:
        return 1, f"{wrong} {'thing is' if wrong == 1 else 'things are'} wrong."
    if unknown:
        return 2, "It cannot be told whether all is well."
    return 0, "All is well."


def find_in_operator(about: About) -> Iterator[Finding]:
    """Of an operator that answers."""
    if about.silent_watches:
        kinds = ", ".join(about.silent_watches)
        yield Finding("wrong", "Operator", about.leader, "WatchSilent", f"no news of {kinds} for too long")
    told = about.prometheus
    if not told.get("configured"):
        return
    age_s = told.get("ageSeconds")
    if told.get("error"):
        yield Finding("wrong", "Prometheus", "", "Unreachable", str(told["error"]))
    elif age_s is None:
        yield Finding("unknown", "Prometheus", "", "NotAsked", "it was not asked yet")
    elif age_s > STALE_S:
        yield Finding("wrong", "Prometheus", "", "Stale", f"the last look was {age_s:.0f} s ago")
    for note in told.get("notes", ()):
        yield Finding("advised", "Prometheus", "", "Partial", str(note))


def find_in_services(services: Iterable[picture.Thing], now: datetime.datetime) -> Iterator[Finding]:
    """Those that are not Ready or cannot proceed, and what Advisory would change."""
    for one in services:
        yield from list(_find_stalled("TritonService", one)) or _find_unready(one, now)
        scaling = one.status.autoscaling
        given = one.status.assignment.replicas if one.status.assignment else None
        if scaling and scaling.mode == "Advisory" and given is not None and scaling.replicas != given:
            said = scaling.decisions[0].message if scaling.decisions else ""
            message = f"{scaling.replicas} servers instead of {given}" + (f": {said}" if said else "")
            yield Finding("advised", "TritonService", one.key, "Autoscaling", message)
        for told in (one.status.right_sizing, one.status.slice_choice):
            if told and told.reason in _SIZES:
                yield Finding("advised", "TritonService", one.key, told.reason, told.message)


def _find_unready(one: picture.Thing, now: datetime.datetime) -> Iterator[Finding]:
    ready = one.condition(reasons.READY)
    if one.metadata.deletion_timestamp or (ready and ready.status == "True"):
        return
    since = ready.last_transition_time if ready else one.metadata.creation_timestamp
    reason, message = (ready.reason, ready.message) if ready else ("", "it has no status yet")
    if reason == reasons.SCALED_TO_ZERO:
        return
    young = since is not None and (now - since).total_seconds() < GRACE_S
    level: Level = "waits" if reason in _ON_THE_WAY and young else "wrong"
    yield Finding(level, "TritonService", one.key, reason or "NoStatus", message, since)


def find_in_jobs(
    jobs: Iterable[picture.Thing], queue: Sequence[Mapping[str, Any]], now: datetime.datetime
) -> Iterator[Finding]:
    """Those that wait, start again, cannot proceed or have failed of late."""
    places = {f"{one['namespace']}/{one['name']}": one for one in queue}
    for one in jobs:
        main = one.condition(reasons.SUCCEEDED)
        if one.spec.managed_by not in (None, CONTROLLER) or (main and main.status == "True"):
            continue
        since = main.last_transition_time if main else one.metadata.creation_timestamp
        if main and main.status == "False":
            ended = one.status.completion_time or since
            if ended and (now - ended).total_seconds() < RECENT_S:
                yield Finding("wrong", "TrainingJob", one.key, main.reason, main.message, ended)
        elif stalled := list(_find_stalled("TrainingJob", one)):
            yield from stalled
        elif not one.spec.suspend and not one.status.active_workers:
            yield _describe_waiting(one, places.get(one.key, {}), since)
        if would_end := places.get(one.key, {}).get("wouldEnd"):
            message = f"it would end or shrink {', '.join(would_end)}"
            yield Finding("advised", "TrainingJob", one.key, "Preemption", message)


def _describe_waiting(
    one: picture.Thing, place: Mapping[str, Any], since: datetime.datetime | None
) -> Finding:
    main, given = one.condition(reasons.SUCCEEDED), one.status.assignment
    told = given if given and given.reason and not given.workers else main
    reason, message = (told.reason, told.message) if told else ("NoStatus", "")
    if place:
        eta_s = place.get("etaSeconds")
        when = f", in about {eta_s / 60:.0f} min" if eta_s is not None else ""
        message = f"number {place['position']} of the queue{when}: {place.get('message') or message}"
    return Finding("waits", "TrainingJob", one.key, reason, message, since)


def find_in_pools(pools: Iterable[picture.Thing], reports: Iterable[picture.NodeReport]) -> Iterator[Finding]:
    """Those that are not Ready, nodes whose repartition is in trouble, and plans that nobody carries out."""
    for one in pools:
        ready = one.condition(reasons.READY)
        if stalled := list(_find_stalled("GPUPool", one)):
            yield from stalled
        elif ready and ready.status != "True":
            # A node autoscaler brings nodes once something needs them.
            empty = ready.reason == reasons.NO_MATCHING_NODES and one.spec.max_nodes
            level: Level = "waits" if empty else "wrong"
            yield Finding(level, "GPUPool", one.key, ready.reason, ready.message, ready.last_transition_time)
        plan = (one.status.mig or {}).get("plan") or {}
        if plan.get("gpus") and (one.spec.mig or {}).get("act", "Advisory") == "Advisory":
            yield Finding("advised", "GPUPool", one.key, plan["reason"], plan.get("message", ""))
    for report in reports:
        if report.reason in mig_reasons.TROUBLES:
            yield Finding("wrong", "Node", report.node, report.reason, report.message, report.since)


def _find_stalled(kind: str, one: picture.Thing) -> Iterator[Finding]:
    stalled = one.condition(reasons.STALLED)
    if stalled and stalled.status == "True":
        yield Finding("wrong", kind, one.key, stalled.reason, stalled.message, stalled.last_transition_time)


class Devices(msgspec.Struct, rename="camel"):
    """Devices or slices of one resource in one pool; those on nodes that take no pod are unusable."""

    pool: str
    resource: str
    total: int = 0
    used: int = 0
    free: int = 0
    unusable: int = 0


class Nodes(msgspec.Struct, rename="camel"):
    """Nodes of one pool that have devices."""

    pool: str
    total: int = 0
    ready: int = 0
    cordoned: int = 0


def count(fleet: picture.Fleet) -> tuple[list[Nodes], list[Devices]]:
    """By pool, the one without a name being what is in none."""
    pools, held = picture.pool_of_nodes(fleet), picture.held_on_nodes(fleet.pods)
    nodes: dict[str, Nodes] = {one.metadata.name: Nodes(one.metadata.name) for one in fleet.pools}
    devices: dict[tuple[str, str], Devices] = {}
    for node in fleet.nodes:
        pool = pools.get(node.name, "")
        if not node.allocatable and not pool:
            continue
        told = nodes.setdefault(pool, Nodes(pool))
        told.total, told.ready = told.total + 1, told.ready + node.ready
        told.cordoned += node.unschedulable
        for resource, units in node.allocatable.items():
            one = devices.setdefault((pool, resource), Devices(pool, resource))
            taken = min(units, sum(held[node.name][resource].values()) if node.name in held else 0)
            one.total, one.used = one.total + units, one.used + taken
            if node.is_usable:
                one.free += units - taken
            else:
                one.unusable += units - taken
    return [nodes[pool] for pool in sorted(nodes)], [devices[key] for key in sorted(devices)]
