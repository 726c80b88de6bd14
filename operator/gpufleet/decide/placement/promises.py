"""What is assigned but does not show on any node yet: pods that may start at any moment."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from gpufleet.api import accelerator as accelerators
from gpufleet.api import training_job, triton_service
from gpufleet.decide.training import outcome
from gpufleet.state import fleet, names

Owner = tuple[str, str, str]
"""Label that names the owner, namespace, name."""


@dataclasses.dataclass(frozen=True, slots=True)
class Promise:
    """So many pods of this need have no node yet."""

    key: Owner
    accelerator: accelerators.AssignedAccelerator
    pods: int


class PodsByOwner:
    """Pods that count for each object, read once."""

    def __init__(self, pods: Iterable[fleet.Pod]) -> None:
        self._pods: Mapping[Owner, list[fleet.Pod]] = defaultdict(list)
        for pod in pods:
            for label in (names.SERVICE_LABEL, names.JOB_LABEL):
                if name := pod.labels.get(label):
                    self._pods[label, pod.namespace, name].append(pod)

    def of(self, owner: Owner) -> Sequence[fleet.Pod]:
        return self._pods.get(owner, ())


def of_services(
    services: Iterable[tuple[triton_service.TritonService, triton_service.ServiceAssignment]],
    pods: PodsByOwner,
) -> Iterator[Promise]:
    """Servers without a node yet; one of an older revision will make room for its successor."""
    for service, given in services:
        if given.accelerator:
            servers = count_servers(service, pods)
            missing = given.replicas + given.surge - servers.bound
            yield Promise(owner_of(service), given.accelerator, max(missing, servers.waiting))


def owner_of(service: triton_service.TritonService) -> Owner:
    """By which its pods are found."""
    return (names.SERVICE_LABEL, service.metadata.namespace, service.metadata.name)


@dataclasses.dataclass(frozen=True, slots=True)
class Servers:
    """Pods of a service that have a node for good, that have none yet, and that are about to leave theirs."""

    bound: int
    waiting: int
    leaving: int


def count_servers(service: triton_service.TritonService, pods: PodsByOwner) -> Servers:
    """Of all its revisions; a pod that has ended holds nothing."""
    found = [pod for pod in pods.of(owner_of(service)) if not pod.is_terminal]
    leaving = sum(pod.deleting for pod in found)
    waiting = sum(not pod.node and not pod.deleting for pod in found)
    return Servers(bound=len(found) - leaving - waiting, waiting=waiting, leaving=leaving)


def of_jobs(jobs: Iterable[training_job.TrainingJob], pods: PodsByOwner) -> Iterator[Promise]:
    """Workers that were admitted; a gang between two attempts keeps the places of all its workers.

    Gangs whose places are named node by node are booked there (gangs/placed.py).
    """
    for job in jobs:
        given = job.status.assignment
        if given is None or not given.workers or given.placement is not None:
            continue
        if given.accelerator and not outcome.is_finished(job):
            owner = (names.JOB_LABEL, job.metadata.namespace, job.metadata.name)
            yield Promise(owner, given.accelerator, count_missing(job, given, pods.of(owner)))


def count_missing(
    job: training_job.TrainingJob, given: training_job.JobAssignment, pods: Sequence[fleet.Pod]
) -> int:
    """Workers of the assignment that have yet to get a node, and have not ended well already."""
    holding = sum(
        given.accelerator is not None and _holds(pod, given.accelerator)
        for pod in pods
        if not pod.is_terminal and not pod.deleting
    )
    newest = max((_read_attempt(pod) for pod in pods), default=0)
    ended = [pod for pod in pods if pod.is_terminal and _read_attempt(pod) == newest]
    is_current = newest >= job.status.attempt and all(pod.phase == "Succeeded" for pod in ended)
    return max(0, given.workers - holding - (len(ended) if is_current else 0))


def _holds(pod: fleet.Pod, assigned: accelerators.AssignedAccelerator) -> bool:
    return bool(pod.node) and pod.requests.get(assigned.resource) == assigned.count


def _read_attempt(pod: fleet.Pod) -> int:
    text = pod.labels.get(names.ATTEMPT_LABEL, "")
    return int(text) if text.isdecimal() else 0
