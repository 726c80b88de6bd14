"""What is free on each node once everything assigned is counted, pods there or not.

Invariant: booking never takes more from a node than is free there, so nothing is given twice. A pod that has
no node yet is expected on the fullest node that takes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from gpufleet.api import accelerator as accelerators
from gpufleet.decide.placement import accelerators as resolving
from gpufleet.decide.placement import promises
from gpufleet.state import fleet, snapshot


class Books:
    """Free extended resources by node; what is booked is free no more."""

    def __init__(self, view: snapshot.Snapshot) -> None:
        used = view.used_on_nodes()
        self.free: Mapping[str, Counter[str]] = {node.name: view.free_on(node, used) for node in view.nodes}
        self._view = view
        self._pools = {pool.metadata.name: pool for pool in view.pools}
        self._candidates: dict[tuple[object, ...], tuple[fleet.Node, ...]] = {}
        self._places: dict[tuple[object, ...], int] = {}
        self._open: dict[tuple[object, ...], list[fleet.Node]] = {}

    def book_all(self, promised: Iterable[promises.Promise]) -> Mapping[promises.Owner, int]:
        """Takes room for pods that may start at any moment; the largest first, since they fit worst.

        Returns for how many pods of each owner there is none.
        """
        in_order = sorted(promised, key=lambda one: (-one.accelerator.count, one.key))
        return {one.key: one.pods - self.book(one.accelerator, one.pods) for one in in_order}

    def count_room(self, assigned: accelerators.AssignedAccelerator, limit: int) -> int:
        """Pods of this need that fit now, node by node; at most `limit`."""
        room = 0
        for _, here in self._rooms(assigned):
            room += here
            if room >= limit:
                return limit
        return room

    def book(self, assigned: accelerators.AssignedAccelerator, pods: int) -> int:
        """Takes room for `pods` pods and returns for how many; what does not fit is not taken."""
        missing = pods
        for node, room in self._rooms(assigned):
            if missing <= 0:
                break
            here = min(missing, room)
            self.free[node.name][assigned.resource] -= here * assigned.count
            missing -= here
        return pods - max(0, missing)

    @property
    def pool_names(self) -> Iterable[str]:
        return self._pools.keys()

    def count_nodes_to_come(self, pool: str) -> int:
        """Nodes that the pool may have beyond those that are there."""
        one = self._pools[pool]
        return max(0, (one.spec.max_nodes or 0) - len(self._view.nodes_of(one)))

    def find_usual_offer(self, assigned: accelerators.AssignedAccelerator) -> int:
        """Units of the resource that most nodes of the pool offer; 0 where none says."""
        offers = Counter(
            units
            for node in self._nodes_for(assigned)
            if (units := node.allocatable.get(assigned.resource, 0))
        )
        return max(offers, key=lambda units: (offers[units], -units), default=0)

    def explain(self, assigned: accelerators.AssignedAccelerator, workers: int) -> str:
        """What a gang of this size lacks. What is free just now is left out: it moves with every pod."""
        places = self._count_places(assigned)
        where = f" on {' or '.join(assigned.products)}" if assigned.products else ""
        where += f" in pool {assigned.pool}" if assigned.pool else ""
        needs = f"needs {workers} workers with {assigned.count} × {assigned.resource}{where} at the same time"
        if places < workers:
            return f"{needs}; usable nodes have room for {places}: add nodes, or lower workers.min"
        return (
            f"{needs}; nodes have room for {places}, but others hold too much of it: "
            "wait for them to end, add nodes, or lower workers.min"
        )

    def _count_places(self, assigned: accelerators.AssignedAccelerator) -> int:
        """Pods of this need for which usable nodes would have room if they were idle."""
        key = _key(assigned)
        if key not in self._places:
            usable = (node for node in self._nodes_for(assigned) if node.is_usable)
            self._places[key] = sum(
                node.allocatable.get(assigned.resource, 0) // assigned.count for node in usable
            )
        return self._places[key]

    def _rooms(self, assigned: accelerators.AssignedAccelerator) -> Iterator[tuple[fleet.Node, int]]:
        """Nodes with room and how much. A node found full is not looked at again: room only shrinks."""
        key = _key(assigned)
        if key not in self._open:
            self._open[key] = sorted(
                self._nodes_for(assigned),
                key=lambda node: (self.free[node.name][assigned.resource], node.name),
            )
        places = self._open[key]
        position = 0
        while position < len(places):
            node = places[position]
            room = max(0, self.free[node.name][assigned.resource]) // assigned.count
            if room == 0:
                del places[position]
                continue
            yield node, room
            position += 1

    def _nodes_for(self, assigned: accelerators.AssignedAccelerator) -> tuple[fleet.Node, ...]:
        """Nodes on which the scheduler may put such a pod."""
        key = _key(assigned)
        if key not in self._candidates:
            pool = self._pools.get(assigned.pool or "")
            nodes = self._view.nodes_of(pool) if pool else self._view.nodes
            self._candidates[key] = tuple(node for node in nodes if resolving.fits_node(assigned, node))
        return self._candidates[key]


def _key(assigned: accelerators.AssignedAccelerator) -> tuple[object, ...]:
    return assigned.resource, assigned.count, tuple(assigned.products), assigned.pool
