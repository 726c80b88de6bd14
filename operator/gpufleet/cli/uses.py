"""How much of each node's devices is held, and by which namespaces; pure.

A slice counts by its compute slices: of a GPU that is cut into two 3g slices one holds a half.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from gpufleet.cli import picture

_DEVICE = re.compile(r"/(gpu|mig-|neuron)")
_SIZE = re.compile(r"([1-7])g\.")
_WHOLE = 7
"""Compute slices of a GPU, by which slices are weighed where nobody tells which GPU they are of."""


class Unit(msgspec.Struct, gc=False):
    """A GPU that is not cut, or a slice: its compute slices, 0 for a GPU, and the namespace that holds it."""

    size: int = 0
    holder: str = ""


class Device(msgspec.Struct, gc=False):
    """A GPU: itself, or its slices where it is cut; without a node agent all slices of a node."""

    units: list[Unit]
    cut: bool = False


class NodeUse(msgspec.Struct, gc=False):
    """One node; `total` and `held` are in GPUs, `rack` is where the pool's topology says that it stands."""

    name: str
    pool: str
    rack: str
    usable: bool
    devices: list[Device]
    total: float = 0.0
    held: float = 0.0
    holders: dict[str, float] = {}


def read(fleet: picture.Fleet) -> list[NodeUse]:
    """Nodes with devices, by pool, rack and name."""
    pools = picture.pool_of_nodes(fleet)
    levels = {one.metadata.name: (one.spec.topology or {}).get("levels", []) for one in fleet.pools}
    held = picture.held_on_nodes(fleet.pods)
    found = []
    for node in fleet.nodes:
        devices = list(_read_devices(node, held.get(node.name, {})))
        if devices:
            pool = pools.get(node.name, "")
            rack = "/".join(node.labels.get(level, "?") for level in levels.get(pool, ()))
            found.append(_weigh(NodeUse(node.name, pool, rack, node.is_usable, devices)))
    return sorted(found, key=lambda one: (one.pool == "", one.pool, one.rack, one.name))


def count_holders(nodes: Iterable[NodeUse]) -> dict[str, float]:
    """GPUs that each namespace holds."""
    found: dict[str, float] = {}
    for node in nodes:
        for namespace, gpus in node.holders.items():
            found[namespace] = found.get(namespace, 0.0) + gpus
    return found


def largest(holders: Mapping[str, float]) -> str:
    """The namespace that holds most; empty where none does."""
    return max(holders, key=lambda one: (holders[one], one), default="")


def _read_devices(node: picture.Node, held: Mapping[str, Counter[str]]) -> Iterator[Device]:
    """By the node agent where it has told, else by what pods ask for, in any order."""
    if node.devices is not None and node.devices.gpus:
        for gpu in node.devices.gpus:
            slices = [Unit(_size_of(one.profile), _namespace_of(one.pod)) for one in gpu.instances]
            cut = gpu.mig or bool(slices)
            yield Device(slices, True) if cut else Device([Unit(0, _namespace_of(gpu.pod))])
        return
    slices = []
    for resource in sorted(node.allocatable):
        if not _DEVICE.search(resource):
            continue
        size = _size_of(resource) if "/mig-" in resource else 0
        holders = list(held[resource].elements()) if resource in held else []
        for number in range(max(node.allocatable[resource], len(holders))):
            unit = Unit(size, holders[number] if number < len(holders) else "")
            if size:
                slices.append(unit)
            else:
                yield Device([unit])
    if slices:
        yield Device(slices, True)


def _weigh(node: NodeUse) -> NodeUse:
    for device in node.devices:
        if not device.cut:
            node.total += 1.0
            if holder := device.units[0].holder:
                node.held += 1.0
                node.holders[holder] = node.holders.get(holder, 0.0) + 1.0
            continue
        sizes = sum(one.size for one in device.units)
        # The slices of several GPUs, where no agent tells, are more than one GPU has.
        weight = max(1.0, sizes / _WHOLE)
        node.total += weight
        for unit in device.units:
            if unit.holder:
                held = weight * unit.size / sizes
                node.held += held
                node.holders[unit.holder] = node.holders.get(unit.holder, 0.0) + held
    return node


def _size_of(profile: str) -> int:
    found = _SIZE.search(profile)
    return int(found[1]) if found else 1


def _namespace_of(pod: str) -> str:
    """Of namespace/name/uid."""
    return pod.partition("/")[0]
