"""Slices and whole devices that the fleet has, or may have, with the price of each and how many are free."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from gpufleet.api import accelerator as accelerators
from gpufleet.api import gpu_pool, meta
from gpufleet.decide.mig import catalogue, devices
from gpufleet.state import fleet, names, snapshot

_VARIANT = frozenset("+-")
"""Profiles with or without media extensions: whether those are needed, no block by memory says."""


@dataclasses.dataclass(frozen=True, slots=True)
class Offer:
    """One unit for each server: `share` of a GPU, `free` of which a pod could have now.

    `price` is that of a whole GPU for an hour, None where its pool has none; `pool` is the one with most.
    """

    accelerator: accelerators.AssignedAccelerator
    share: float
    free: int
    price: float | None
    pool: gpu_pool.GPUPool | None

    @property
    def name(self) -> str:
        """As people call it: a profile, or the resource."""
        return catalogue.profile_of_resource(self.accelerator.resource) or self.accelerator.resource


class Inventory:
    """What one snapshot offers, read once for all services of a pass."""

    def __init__(self, view: snapshot.Snapshot) -> None:
        self._pools = {pool.metadata.name: pool for pool in view.pools}
        self._nodes: dict[tuple[str, str], Counter[str]] = {}
        """Units by pool, by (product, resource); 0 where a change of layout would make them."""
        self._free: Counter[tuple[str, str]] = Counter()
        used = view.used_on_nodes()
        pool_of = {node.name: pool for pool in reversed(view.pools) for node in view.nodes_of(pool)}
        for node in view.nodes:
            self._read(node, pool_of.get(node.name), view.free_on(node, used))

    def _read(self, node: fleet.Node, pool: gpu_pool.GPUPool | None, free: Mapping[str, int]) -> None:
        product = node.labels.get(names.GPU_PRODUCT_LABEL, "")
        model = catalogue.model_of_product(product)
        if model is None:
            return
        offered = {name: count for name, count in node.allocatable.items() if measure(model, name)}
        possible = () if node.claimable else _find_possible(model, pool)
        for name in sorted({*offered, *possible}):
            cell = self._nodes.setdefault((product, name), Counter())
            cell[pool.metadata.name if pool else ""] += offered.get(name, 0)
            self._free[product, name] += max(0, free.get(name, 0))

    def find(self, block: accelerators.Accelerator) -> list[Offer]:
        """All that answer a block by memory: of each product alone, and of all that have the resource."""
        needed_mib = -(-meta.quantity_to_bytes(block.memory or "0") // 2**20)
        allowed = catalogue.models_of_class(block.device_class) if block.device_class else None
        products: dict[str, list[str]] = {}
        for product, resource in sorted(self._nodes):
            model = catalogue.model_of_product(product)
            size = measure(model, resource) if model else None
            if size and size.memory_mib >= needed_mib and (allowed is None or model in allowed):
                products.setdefault(resource, []).append(product)
        return [
            self._build(resource, chosen)
            for resource, having in sorted(products.items())
            for chosen in ([[one] for one in having] + ([having] if len(having) > 1 else []))
        ]

    def build(self, assigned: accelerators.AssignedAccelerator) -> Offer | None:
        """What a service has already; None where its nodes are gone or of no known model."""
        having = [one for one in assigned.products if (one, assigned.resource) in self._nodes]
        if not having or assigned.count != 1:
            return None
        return dataclasses.replace(self._build(assigned.resource, having), accelerator=assigned)

    def take(self, assigned: accelerators.AssignedAccelerator, units: int) -> None:
        """So many are free no more."""
        for product in assigned.products:
            taken = min(units, self._free[product, assigned.resource])
            self._free[product, assigned.resource] -= taken
            units -= taken

    def _build(self, resource: str, products: Sequence[str]) -> Offer:
        places: Counter[str] = Counter()
        for product in products:
            places.update(self._nodes[product, resource])
        name = min(places, key=lambda one: (-places[one], one))
        pool = self._pools.get(name)
        sizes = [measure(model, resource) for one in products if (model := catalogue.model_of_product(one))]
        assigned = accelerators.AssignedAccelerator(
            resource=resource, count=1, products=sorted(products), pool=name or None
        )
        return Offer(
            assigned,
            share=max((one.share for one in sizes if one), default=1.0),
            free=sum(self._free[product, resource] for product in products),
            price=pool.spec.price_per_gpu_hour if pool else None,
            pool=pool,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Size:
    """Of one unit: its memory, and which share of a GPU nobody else can have."""

    memory_mib: int
    share: float


def measure(model: devices.DeviceModel, resource: str) -> Size | None:
    """The larger of its shares of compute slices and memory units: what it takes of one blocks the other.

    None for what is no unit of this model.
    """
    if resource == model.resource:
        return Size(model.memory_mib, 1.0)
    name = catalogue.profile_of_resource(resource)
    profile = catalogue.profile(model, name) if name else None
    if profile is None or model.family is None or set(profile.name) & _VARIANT:
        return None
    family, shape = model.family, profile.shape
    share = max(shape.compute / family.compute_slices, shape.size / family.memory_units)
    return Size(profile.memory_mib, share)


def _find_possible(model: devices.DeviceModel, pool: gpu_pool.GPUPool | None) -> Iterator[str]:
    """Slices that nobody has cut yet, where the pool would have them cut."""
    policy = pool.spec.mig if pool else None
    if policy is None or policy.mode != "Dynamic" or policy.act != "Active":
        return
    for profile in model.profiles:
        is_allowed = not policy.allowed_profiles or profile.name in policy.allowed_profiles
        if is_allowed and not set(profile.name) & _VARIANT:
            yield catalogue.resource_name(profile.name)
