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
        self.kept: Mapping[str, Counter[str]] = {node.name: Counter() for node in view.nodes}
        """What was freed for gangs that wait, of what is free."""
        self.reserved: Mapping[str, Counter[str]] = {node.name: Counter() for node in view.nodes}
        """What is reserved for gangs that wait, of what is free or will be."""
        self.ending: Mapping[str, Counter[str]] = {node.name: Counter() for node in view.nodes}
        """What pods that have been told to end still hold, where others may follow them."""
        usable = {node.name for node in view.nodes if node.is_usable}
        for pod in view.pods:
            if pod.deleting and not pod.is_terminal and pod.node in usable:
                self.ending[pod.node].update(pod.requests)
        self.version = 0
        """Grows with every change, so that what is computed from the books can be kept."""
        self._kept_nodes: set[str] = set()
        self._reserved_nodes: set[str] = set()
        self._view = view
        self._pools = {pool.metadata.name: pool for pool in view.pools}
        self._candidates: dict[tuple[object, ...], tuple[fleet.Node, ...]] = {}
        self._open: dict[tuple[object, ...], list[fleet.Node]] = {}

    def book_all(self, promised: Iterable[promises.Promise]) -> Mapping[promises.Owner, int]:
        """Takes room for pods that may start at any moment; the largest first, since they fit worst.

        Returns for how many pods of each owner there is none.
        """
        in_order = largest_first(promised)
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
            self.version += 1
            missing -= here
        return pods - max(0, missing)

    def count_free(self, node: str, assigned: accelerators.AssignedAccelerator) -> int:
        """Units of the resource that are free there; less than none where more is promised than is there."""
        return self.free[node][assigned.resource]

    def count_places(
        self, node: str, assigned: accelerators.AssignedAccelerator, *, into_reserved: bool = False
    ) -> int:
        """Pods of this need that fit on the node."""
        free = self.count_unkept(node, assigned)
        if not into_reserved:
            free -= self.reserved[node][assigned.resource]
        return free // assigned.count if free > 0 else 0

    def count_unkept(self, node: str, assigned: accelerators.AssignedAccelerator) -> int:
        """As `count_free`, without what is kept for gangs that wait."""
        return self.free[node][assigned.resource] - self.kept[node][assigned.resource]

    def list_places(
        self,
        nodes: Iterable[str],
        assigned: accelerators.AssignedAccelerator,
        *,
        into_reserved: bool = False,
    ) -> list[int]:
        """`count_places` of many nodes, in one go: a pass asks it of thousands, for each gang anew."""
        resource, count, free = assigned.resource, assigned.count, self.free
        withheld = [self._kept_nodes] if into_reserved else [self._kept_nodes, self._reserved_nodes]
        if any(withheld):
            return [self.count_places(name, assigned, into_reserved=into_reserved) for name in nodes]
        return [units // count if (units := free[name].get(resource, 0)) >= count else 0 for name in nodes]

    def take(self, node: str, assigned: accelerators.AssignedAccelerator, pods: int) -> None:
        """Takes room for pods on a node that has it."""
        self.free[node][assigned.resource] -= pods * assigned.count
        self.version += 1

    def close(self, nodes: Iterable[str], assigned: accelerators.AssignedAccelerator, pods: int) -> None:
        """Takes what so many pods, that may go to any of these nodes, might fill on each beyond their own."""
        for node in nodes:
            free = max(0, self.free[node][assigned.resource])
            self.free[node][assigned.resource] -= min(free, pods * assigned.count)
            self.version += 1

    def keep(self, node: str, assigned: accelerators.AssignedAccelerator, pods: int) -> None:
        """Keeps room for pods that are to come there, free by now or not."""
        self._kept_nodes.add(node)
        self.version += 1
        self.kept[node][assigned.resource] += pods * assigned.count

    def reserve(self, node: str, assigned: accelerators.AssignedAccelerator, pods: int) -> None:
        """Reserves room for pods that are to come there later."""
        self._reserved_nodes.add(node)
        self.version += 1
        self.reserved[node][assigned.resource] += pods * assigned.count

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
            for node in self.nodes_for(assigned)
            if (units := node.allocatable.get(assigned.resource, 0))
        )
        return max(offers, key=lambda units: (offers[units], -units), default=0)

    def _rooms(self, assigned: accelerators.AssignedAccelerator) -> Iterator[tuple[fleet.Node, int]]:
        """Nodes with room and how much. A node found full is not looked at again: room only shrinks."""
        key = key_of(assigned)
        if key not in self._open:
            self._open[key] = sorted(
                self.nodes_for(assigned),
                key=lambda node: (self.free[node.name][assigned.resource], node.name),
            )
        places = self._open[key]
        position = 0
        while position < len(places):
            node = places[position]
            room = self.count_places(node.name, assigned)
            if room == 0:
                del places[position]
                continue
            yield node, room
            position += 1

    def nodes_for(self, assigned: accelerators.AssignedAccelerator) -> tuple[fleet.Node, ...]:
        """Nodes on which the scheduler may put such a pod."""
        key = key_of(assigned)
        if key not in self._candidates:
            pool = self._pools.get(assigned.pool or "")
            nodes = self._view.nodes_of(pool) if pool else self._view.nodes
            self._candidates[key] = tuple(node for node in nodes if resolving.fits_node(assigned, node))
        return self._candidates[key]


def largest_first(promised: Iterable[promises.Promise]) -> list[promises.Promise]:
    """The largest pods fit worst."""
    return sorted(promised, key=lambda one: (-one.accelerator.count, one.key))


def key_of(assigned: accelerators.AssignedAccelerator) -> tuple[object, ...]:
    """Equal for needs that the same nodes meet in the same way."""
    return assigned.resource, assigned.count, tuple(assigned.products), assigned.pool
