"""What is free on each node once everything assigned is counted, pods there or not: nothing is given twice."""

from __future__ import annotations

import dataclasses
from collections import Counter

from gpufleet.api import accelerator as accelerators
from gpufleet.decide.placement import accelerators as resolving
from gpufleet.decide.training import outcome
from gpufleet.state import fleet, names, snapshot


@dataclasses.dataclass
class Books:
    """Free extended resources by node, and how much of them is promised to pods that do not exist yet."""

    nodes: tuple[fleet.Node, ...]
    free: dict[str, Counter[str]]

    @classmethod
    def of(cls, view: snapshot.Snapshot) -> Books:
        """The books of a fleet in which every assignment has been honoured."""
        used = view.used_on_nodes()
        books = cls(view.nodes, {node.name: view.free_on(node, used) for node in view.nodes})
        bound = _count_bound(view)
        for service in view.services:
            given = service.status.assignment
            if given and given.accelerator:
                key = (service.metadata.namespace, service.metadata.name)
                books.book(given.accelerator, given.replicas - bound[key])
        for job in view.jobs:
            promised = job.status.assignment
            if promised and promised.accelerator and not outcome.is_finished(job):
                attempt = str(max(1, job.status.attempt))
                started = bound[job.metadata.namespace, job.metadata.name, attempt]
                books.book(promised.accelerator, promised.workers - started)
        return books

    def count_room(self, assigned: accelerators.AssignedAccelerator, limit: int) -> int:
        """Pods of this need that fit now, node by node; at most `limit`."""
        room = 0
        for node in self.nodes:
            room += self._room_on(node, assigned)
            if room >= limit:
                return limit
        return room

    def book(self, assigned: accelerators.AssignedAccelerator, pods: int) -> None:
        """Takes room for `pods` pods, fullest nodes first; what does not fit is not taken."""
        fitting = [node for node in self.nodes if self._room_on(node, assigned) > 0]
        for node in sorted(fitting, key=lambda node: (self.free[node.name][assigned.resource], node.name)):
            if pods <= 0:
                return
            here = min(pods, self._room_on(node, assigned))
            self.free[node.name][assigned.resource] -= here * assigned.count
            pods -= here

    def explain(self, assigned: accelerators.AssignedAccelerator, workers: int) -> str:
        """What a gang of this size lacks, in numbers."""
        room = self.count_room(assigned, workers)
        where = f" on {' or '.join(assigned.products)}" if assigned.products else ""
        return (
            f"needs {workers} workers with {assigned.count} × {assigned.resource}{where} at the same time; "
            f"{room} fit now: wait for others to end, add nodes, or lower workers.min"
        )

    def _room_on(self, node: fleet.Node, assigned: accelerators.AssignedAccelerator) -> int:
        if not resolving.fits_node(assigned, node):
            return 0
        return max(0, self.free[node.name][assigned.resource]) // assigned.count


def _count_bound(view: snapshot.Snapshot) -> Counter[tuple[str, ...]]:
    """Pods that have had their node, by service, and by job and attempt."""
    bound: Counter[tuple[str, ...]] = Counter()
    for pod in view.pods:
        if not pod.node:
            continue
        if service := pod.labels.get(names.SERVICE_LABEL):
            bound[pod.namespace, service] += not pod.is_terminal
        elif job := pod.labels.get(names.JOB_LABEL):
            bound[pod.namespace, job, pod.labels.get(names.ATTEMPT_LABEL, "")] += 1
    return bound
