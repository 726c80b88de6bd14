"""Slices that wait: pods that the scheduler has refused, and what services and jobs have been refused."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

from gpufleet.api import accelerator as accelerators
from gpufleet.api import meta, reasons, training_job, triton_service
from gpufleet.decide.autoscaling import scaler
from gpufleet.decide.mig import catalogue, devices
from gpufleet.decide.mig.repartition import facts as reading
from gpufleet.decide.placement import accelerators as resolving
from gpufleet.decide.placement.slices import judging
from gpufleet.decide.training import lifecycle, outcome
from gpufleet.state import fleet, names, snapshot

_VARIANT = frozenset("+-")
_LACKING = frozenset({reasons.NO_MATCHING_ACCELERATOR, reasons.INSUFFICIENT_CAPACITY})


@dataclasses.dataclass(frozen=True, slots=True)
class Waiting:
    """So many slices of a profile, on any of these nodes."""

    profile: str
    count: int
    nodes: frozenset[str]


@dataclasses.dataclass(frozen=True, slots=True)
class Demand:
    """All that waits, and nodes on which whole GPUs are waited for."""

    slices: tuple[Waiting, ...] = ()
    whole: frozenset[str] = frozenset()


def read(
    view: snapshot.Snapshot, nodes: Sequence[reading.Facts], scalings: Mapping[str, scaler.Scaling]
) -> Demand:
    """What waits for slices of these nodes, alike added up, in a fixed order."""
    found: collections.Counter[tuple[str, frozenset[str]]] = collections.Counter()
    for profile, count, places in (
        *_of_pods(view.pods, nodes),
        *_of_services(view.services, nodes, scalings),
        *_of_jobs(view.jobs, nodes),
    ):
        if places and count > 0:
            found[profile, places] += count
    in_order = sorted(found.items(), key=lambda item: (item[0][0], sorted(item[0][1])))
    slices = tuple(Waiting(profile, count, places) for (profile, places), count in in_order)
    return Demand(slices, _find_whole(view.pods, nodes))


def take(demand: Demand, served: Mapping[str, int], nodes: frozenset[str]) -> Demand:
    """What waits still once these nodes have served so much of it."""
    left, rest = dict(served), []
    for one in demand.slices:
        taken = min(one.count, left.get(one.profile, 0)) if one.nodes & nodes else 0
        if taken:
            left[one.profile] -= taken
        rest.append(dataclasses.replace(one, count=one.count - taken))
    return dataclasses.replace(demand, slices=tuple(one for one in rest if one.count))


def fits(constraints: fleet.Constraints, node: fleet.Node) -> bool:
    """Whether the scheduler could place such a pod here, but for the node's devices and our own fence."""
    if constraints.terms and not any(_holds(term, node.labels) for term in constraints.terms):
        return False
    hard = [one for one in node.taints if one.effect != "PreferNoSchedule"]
    return all(
        taint.key == names.REPARTITION_TAINT or any(one.accepts(taint) for one in constraints.tolerations)
        for taint in hard
    )


def _holds(term: Sequence[fleet.Requirement], labels: Mapping[str, str]) -> bool:
    return all(_matches(one, labels.get(one.key)) for one in term)


def _matches(one: fleet.Requirement, value: str | None) -> bool:
    """https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#operators"""
    if one.operator == "In":
        return value in one.values
    if one.operator == "NotIn":
        return value not in one.values
    if one.operator in ("Exists", "DoesNotExist"):
        return (value is not None) == (one.operator == "Exists")
    if value is None or not value.lstrip("-").isdecimal() or len(one.values) != 1:
        return False
    limit = one.values[0]
    return limit.lstrip("-").isdecimal() and (
        int(value) > int(limit) if one.operator == "Gt" else int(value) < int(limit)
    )


Found = Iterator[tuple[str, int, frozenset[str]]]


def _of_pods(pods: Iterable[fleet.Pod], nodes: Sequence[reading.Facts]) -> Found:
    """Pods alike are looked at once."""
    alike: collections.Counter[tuple[str, int, fleet.Constraints]] = collections.Counter()
    for pod in pods:
        if not _is_refused(pod):
            continue
        for resource, count in pod.requests.items():
            if profile := catalogue.profile_of_resource(resource):
                alike[profile, count, pod.constraints] += 1
    for (profile, count, constraints), number in alike.items():
        places = (one for one in nodes if fits(constraints, one.node))
        yield profile, count * number, _with_profile(places, profile)


def _is_refused(pod: fleet.Pod) -> bool:
    return bool(pod.unschedulable_message) and not (pod.node or pod.deleting or pod.is_terminal)


def _find_whole(pods: Iterable[fleet.Pod], nodes: Sequence[reading.Facts]) -> frozenset[str]:
    kinds = {pod.constraints for pod in pods if _is_refused(pod) and pod.requests.get(devices.GPU_RESOURCE)}
    return frozenset(one.node.name for one in nodes if any(fits(kind, one.node) for kind in kinds))


def _of_services(
    services: Iterable[triton_service.TritonService],
    nodes: Sequence[reading.Facts],
    scalings: Mapping[str, scaler.Scaling],
) -> Found:
    """Services without an accelerator have no pods; those that grow only into what is there have too few."""
    for service in services:
        given, block = service.status.assignment, service.spec.accelerator
        if given is None or block is None or not resolving.answers(given, block):
            continue
        if given.reason == reasons.NO_MATCHING_ACCELERATOR:
            yield from _of_block(block, given.replicas, nodes)
        elif given.accelerator and (profile := catalogue.profile_of_resource(given.accelerator.resource)):
            extra = _find_clamped(scalings.get(service.metadata.uid))
            fitting = (one for one in nodes if resolving.fits_node(given.accelerator, one.node))
            yield profile, extra, _with_profile(fitting, profile)
        yield from _of_choice(service, block, nodes)


def _of_choice(
    service: triton_service.TritonService, block: accelerators.Accelerator, nodes: Sequence[reading.Facts]
) -> Found:
    """Slices that a service would move to if they were there; idle ones serve it as they serve anybody."""
    told = service.status.slice_choice
    profile = catalogue.profile_of_resource(told.resource) if told else None
    if told is not None and told.reason == judging.LACKING and profile:
        wanted = accelerators.Accelerator(device_class=block.device_class, mig_profile=profile)
        yield from _of_block(wanted, told.servers, nodes)


def _find_clamped(scaling: scaler.Scaling | None) -> int:
    """Servers that the fleet had no room for."""
    if scaling is None or scaling.mode != "Active":
        return 0
    return sum(one.before - one.after for one in scaling.clamps if one.reason == scaler.NO_ROOM)


def _of_jobs(jobs: Iterable[training_job.TrainingJob], nodes: Sequence[reading.Facts]) -> Found:
    """Gangs that are not admitted, at their smallest size; not those of a queue, whose turn is not ours."""
    for job in jobs:
        given, block = job.status.assignment, job.spec.accelerator
        is_ours = not (job.spec.suspend or job.spec.queue or lifecycle.is_foreign(job))
        if given is None or block is None or outcome.is_finished(job) or not is_ours:
            continue
        if given.workers == 0 and given.reason in _LACKING and resolving.answers(given, block):
            is_gang = job.spec.framework != "Plain" and job.spec.workers.max > 1
            if not is_gang:
                yield from _of_block(block, job.spec.workers.min or job.spec.workers.max, nodes)


def _of_block(block: accelerators.Accelerator, count: int, nodes: Sequence[reading.Facts]) -> Found:
    models = catalogue.models_of_class(block.device_class) if block.device_class else ()
    places = [one for one in nodes if one.model and (not block.device_class or one.model in models)]
    if block.mig_profile:
        yield block.mig_profile, count, _with_profile(places, block.mig_profile)
    elif block.memory:
        profile = _find_smallest(block.memory, places)
        if profile:
            yield profile, count, _with_profile(places, profile)


def _find_smallest(memory: str, nodes: Iterable[reading.Facts]) -> str | None:
    """The smallest profile with so much memory; none with or without media extensions is meant by memory."""
    needed_mib = -(-meta.quantity_to_bytes(memory) // 2**20)
    models = {one.model.name: one.model for one in nodes if one.model}
    offers = sorted(
        (profile.memory_mib, profile.name)
        for model in models.values()
        for profile in model.profiles
        if profile.memory_mib >= needed_mib and not set(profile.name) & _VARIANT
    )
    return offers[0][1] if offers else None


def _with_profile(nodes: Iterable[reading.Facts], profile: str) -> frozenset[str]:
    return frozenset(one.node.name for one in nodes if one.model and catalogue.profile(one.model, profile))
