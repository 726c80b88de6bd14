"""Accelerator block → extended resource, products and pool, from what the fleet offers now.

A resolved block stays as it is until the block changes: pod templates must not follow the fleet.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

from gpufleet.api import accelerator as accelerators
from gpufleet.api import gpu_pool, meta, reasons, training_job, triton_service
from gpufleet.decide.mig import catalogue, devices
from gpufleet.state import fleet, names, snapshot

_ANY = "any"


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing in the fleet answers the block."""

    reason: str
    message: str


def describe(block: accelerators.Accelerator | None) -> str:
    """The block in one line, equal for equal blocks."""
    if block is None:
        return "none"
    return ",".join(f"{key}={value}" for key, value in sorted(block.to_wire().items())) or _ANY


def answers(
    assignment: triton_service.ServiceAssignment | training_job.JobAssignment,
    block: accelerators.Accelerator | None,
) -> bool:
    """Whether the assignment is about this block, rather than about one that the user has since changed."""
    return assignment.requested == describe(block)


def refuses(
    assignment: triton_service.ServiceAssignment | training_job.JobAssignment,
    block: accelerators.Accelerator | None,
) -> bool:
    """Whether the cycle has looked at this block and said why it is not served."""
    return bool(assignment.reason) and answers(assignment, block)


def resolve(
    block: accelerators.Accelerator, view: snapshot.Snapshot, *, whole_devices: bool = False
) -> accelerators.AssignedAccelerator | Refusal:
    """The resource that one pod asks for, or why there is none; memory may be kept from choosing a slice."""
    models = catalogue.models_of_class(block.device_class) if block.device_class else ()
    if block.device_class and not models:
        known = ", ".join(catalogue.class_names())
        return Refusal(
            reasons.UNKNOWN_DEVICE_CLASS,
            f"accelerator.class {block.device_class} is unknown; known are {known}",
        )
    if block.mig_profile is not None:
        wanted = _resolve_profile(block.mig_profile, block.device_class, models)
    elif block.memory is not None:
        wanted = _resolve_memory(block.memory, models, view, whole_devices=whole_devices)
    else:
        wanted = _resolve_count(block.count or 1, models)
    return wanted if isinstance(wanted, Refusal) else _check_offer(wanted, view)


class Resolver:
    """`resolve` for one pass: many objects ask for the same, and each answer looks at every node."""

    def __init__(self, view: snapshot.Snapshot) -> None:
        self._view = view
        self._found: dict[tuple[str, bool], accelerators.AssignedAccelerator | Refusal] = {}

    def resolve(
        self, block: accelerators.Accelerator, *, whole_devices: bool = False
    ) -> accelerators.AssignedAccelerator | Refusal:
        """The same as the function, which is asked once for equal blocks."""
        key = describe(block), whole_devices
        if key not in self._found:
            self._found[key] = resolve(block, self._view, whole_devices=whole_devices)
        return self._found[key]


def fits_node(assigned: accelerators.AssignedAccelerator, node: fleet.Node) -> bool:
    """Whether the node's product is one of those assigned; any product where none is named."""
    return not assigned.products or node.labels.get(names.GPU_PRODUCT_LABEL) in assigned.products


def find_unit_memory_mib(assigned: accelerators.AssignedAccelerator) -> int | None:
    """Device memory of one unit, the least of all products that fit; None where any device may be meant."""
    products = assigned.products
    if not products and catalogue.profile_of_resource(assigned.resource) is None:
        return None
    named = [catalogue.model_of_product(product) for product in products]
    candidates = [one for one in named if one] or catalogue.default().models
    sizes = [_unit_memory_mib(one, assigned.resource) for one in candidates]
    return min((size for size in sizes if size is not None), default=None)


def _resolve_profile(
    profile: str, class_name: str | None, models: Sequence[devices.DeviceModel]
) -> accelerators.AssignedAccelerator | Refusal:
    resource = catalogue.resource_name(profile)
    if class_name is None:
        return accelerators.AssignedAccelerator(resource=resource, count=1)
    capable = [model for model in models if model.is_mig_capable]
    if not capable:
        return Refusal(
            reasons.MIG_NOT_SUPPORTED,
            f"accelerator.class {class_name} cannot be cut into MIG slices: ask for count or memory instead",
        )
    having = [model for model in capable if catalogue.profile(model, profile)]
    if not having:
        offered = ", ".join(sorted({one.name for model in capable for one in model.profiles}))
        return Refusal(
            reasons.NO_MATCHING_ACCELERATOR,
            f"accelerator.class {class_name} has no MIG profile {profile}; it has {offered}",
        )
    return accelerators.AssignedAccelerator(resource=resource, count=1, products=_products(having))


def _resolve_count(count: int, models: Sequence[devices.DeviceModel]) -> accelerators.AssignedAccelerator:
    resource = models[0].resource if models else devices.GPU_RESOURCE
    return accelerators.AssignedAccelerator(resource=resource, count=count, products=_products(models))


def _products(models: Iterable[devices.DeviceModel]) -> list[str]:
    """Products that GPU feature discovery labels; other vendors' resources say it all."""
    return sorted(
        {product for model in models if model.resource == devices.GPU_RESOURCE for product in model.products}
    )


def _resolve_memory(
    memory: str,
    models: Sequence[devices.DeviceModel],
    view: snapshot.Snapshot,
    *,
    whole_devices: bool,
) -> accelerators.AssignedAccelerator | Refusal:
    """The smallest unit in the fleet that offers this much: one resource, on every product where it does."""
    needed_mib = -(-meta.quantity_to_bytes(memory) // 2**20)
    found = sorted(set(_offers(models, view)))
    offers = [offer for offer in found if not (whole_devices and catalogue.profile_of_resource(offer[1]))]
    large_enough = [offer for offer in offers if offer[0] >= needed_mib]
    if not large_enough and any(offer[0] >= needed_mib for offer in found):
        return Refusal(
            reasons.NO_MATCHING_ACCELERATOR,
            f"accelerator.memory {memory} is offered by MIG slices only, which have no peer-to-peer "
            "transport for a gang: add whole devices, or set workers.max to 1",
        )
    if not large_enough:
        largest = f"{offers[-1][0]} MiB ({offers[-1][1]})" if offers else "nothing"
        return Refusal(
            reasons.NO_MATCHING_ACCELERATOR,
            f"accelerator.memory {memory} is more than one unit of the fleet offers, at most {largest}: "
            "ask for less, or for a count of devices",
        )
    resource = large_enough[0][1]
    products = sorted({product for _, name, product in large_enough if name == resource})
    return accelerators.AssignedAccelerator(resource=resource, count=1, products=products)


def _offers(models: Sequence[devices.DeviceModel], view: snapshot.Snapshot) -> Iterator[tuple[int, str, str]]:
    """(MiB per unit, resource, product) of all that nodes of these models have; of any if none is given."""
    for node in view.nodes:
        product = node.labels.get(names.GPU_PRODUCT_LABEL, "")
        model = catalogue.model_of_product(product)
        if model is None or (models and model not in models):
            continue
        for resource, count in node.allocatable.items():
            size_mib = _unit_memory_mib(model, resource)
            if count > 0 and size_mib is not None:
                yield size_mib, resource, product


def _unit_memory_mib(model: devices.DeviceModel, resource: str) -> int | None:
    if resource == model.resource:
        return model.memory_mib
    name = catalogue.profile_of_resource(resource)
    profile = catalogue.profile(model, name) if name else None
    return profile.memory_mib if profile else None


def _check_offer(
    wanted: accelerators.AssignedAccelerator, view: snapshot.Snapshot
) -> accelerators.AssignedAccelerator | Refusal:
    """`wanted` with its pool, if any node has enough of it on one machine."""
    having = [
        node
        for node in view.nodes
        if node.allocatable.get(wanted.resource, 0) >= wanted.count and fits_node(wanted, node)
    ]
    if not having:
        return Refusal(reasons.NO_MATCHING_ACCELERATOR, _explain_lack(wanted, view))
    pool = _find_pool({node.name: node.allocatable[wanted.resource] // wanted.count for node in having}, view)
    return wanted.model_copy(update={"pool": pool.metadata.name if pool else None})


def _find_pool(places: Mapping[str, int], view: snapshot.Snapshot) -> gpu_pool.GPUPool | None:
    """The pool with most places on these nodes, of equals the first by name; a small one may never do."""
    sizes = [sum(places.get(node.name, 0) for node in view.nodes_of(pool)) for pool in view.pools]
    largest = max(sizes, default=0)
    return view.pools[sizes.index(largest)] if largest else None


def _explain_lack(wanted: accelerators.AssignedAccelerator, view: snapshot.Snapshot) -> str:
    offered = sorted({name for node in view.nodes for name, count in node.allocatable.items() if count > 0})
    where = f" on {' or '.join(wanted.products)}" if wanted.products else ""
    has = ", ".join(offered) if offered else "no accelerators at all"
    return f"no node offers {wanted.count} × {wanted.resource}{where}; the fleet has {has}"
