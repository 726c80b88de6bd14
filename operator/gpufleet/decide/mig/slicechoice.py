"""Which nodes a pod that takes a MIG slice should prefer, so that large slices survive elsewhere; pure.

mig-manager cuts whole GPUs, and only those that nobody holds. So a slice is best taken on a GPU that is held
already; the first slice of an idle GPU costs all that could have been made of it. Of a node, the scheduler
chooses by labels and the device plugin by its own policy, which we only know.

Nodes are preferred as bins that are being filled: the next one when those have few idle slices left, and one
less when they have many. A full node keeps its label, which says nothing while it is full.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from gpufleet.decide.mig import catalogue
from gpufleet.state import fleet, names, snapshot

Policy = Literal["distributed", "packed"]
"""The device plugin's shared-devices-allocation-policy: the GPU with most free slices, or with least."""
RESERVE = 8
"""Idle slices per profile and model for which nodes become preferred."""
KEPT = 2 * RESERVE
"""Idle slices beyond which a preferred node is one no more: pods that leave must not cost a write each."""


@dataclasses.dataclass(frozen=True, slots=True)
class Board:
    """A GPU, or a node where nobody knows which pod is where: profiles with idle slices, and held ones."""

    idle: Mapping[str, int]
    held: int


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """A node with slices of one model; `preferred` are the profiles that its labels name now."""

    name: str
    model: str
    boards: tuple[Board, ...]
    preferred: frozenset[str] = frozenset()

    def idle(self, profile: str) -> int:
        return sum(board.idle.get(profile, 0) for board in self.boards)


@dataclasses.dataclass(frozen=True, slots=True)
class Patch:
    """Labels of a node that are to change; None removes one."""

    node: str
    labels: Mapping[str, str | None]


def label_of(resource: str) -> str | None:
    """The label for a slice's extended resource, a constant wish in pod templates; None for what is none."""
    if not resource.startswith(catalogue.MIG_RESOURCE_PREFIX):
        return None
    return names.PREFER_LABEL_PREFIX + resource.removeprefix(catalogue.MIG_RESOURCE_PREFIX)


def choose(nodes: Sequence[Node], policy: Policy) -> dict[str, frozenset[str]]:
    """Profiles to be preferred, by node; no entry where there are none, nor for a profile of one node."""
    found: dict[str, set[str]] = collections.defaultdict(set)
    groups: dict[tuple[str, str], list[Node]] = collections.defaultdict(list)
    for node in nodes:
        for profile in node.preferred.union(*(board.idle for board in node.boards)):
            groups[node.model, profile].append(node)
    for (_, profile), candidates in groups.items():
        if len(candidates) > 1:
            for node in _fill(candidates, profile, policy):
                found[node.name].add(profile)
    return {name: frozenset(profiles) for name, profiles in sorted(found.items())}


def _fill(candidates: Sequence[Node], profile: str, policy: Policy) -> list[Node]:
    """Nodes by what the next slice costs there; a preferred one stays so while it costs no more."""

    def rank(node: Node) -> tuple[int, bool, int, str]:
        return (
            opens_gpu(node, profile, policy),
            profile not in node.preferred,
            node.idle(profile),
            node.name,
        )

    chosen: list[Node] = []
    idle = 0
    for node in sorted(candidates, key=rank):
        stays = profile in node.preferred and not opens_gpu(node, profile, policy)
        if idle < (KEPT if stays else RESERVE):
            chosen.append(node)
            idle += node.idle(profile)
    return chosen


def opens_gpu(node: Node, profile: str, policy: Policy) -> bool:
    """Whether the plugin would take the next slice of the profile on a GPU that nobody holds."""
    having = [board for board in node.boards if board.idle.get(profile, 0)]
    held = [board.held for board in having]
    if not held:
        return False
    return (max(held) if policy == "packed" else min(held)) == 0


def plan_labels(view: snapshot.Snapshot, policy: Policy) -> tuple[Patch, ...]:
    """What has to be written on nodes, by name; nothing once it is."""
    nodes = read_nodes(view)
    wanted = choose(nodes, policy)
    patches = []
    for node in view.nodes:
        keys = {_key(profile) for profile in wanted.get(node.name, ())}
        present = {key for key in node.labels if key.startswith(names.PREFER_LABEL_PREFIX)}
        labels: dict[str, str | None] = dict.fromkeys(sorted(present - keys))
        labels |= dict.fromkeys(sorted(keys - present), "true")
        if labels:
            patches.append(Patch(node.name, labels))
    return tuple(patches)


def read_nodes(view: snapshot.Snapshot) -> list[Node]:
    """Usable nodes that have slices, by name."""
    used = view.used_on_nodes()
    return [
        Node(
            node.name,
            node.labels.get(names.GPU_PRODUCT_LABEL, ""),
            tuple(_read_boards(node, used[node.name])),
            frozenset(profile for profile in _profiles(node) if _key(profile) in node.labels),
        )
        for node in view.nodes
        if node.is_usable and _profiles(node)
    ]


def _profiles(node: fleet.Node) -> list[str]:
    found = (catalogue.profile_of_resource(name) for name, count in node.allocatable.items() if count)
    return sorted(profile for profile in found if profile)


def _key(profile: str) -> str:
    return label_of(catalogue.resource_name(profile)) or ""


def _read_boards(node: fleet.Node, used: Mapping[str, int]) -> Iterator[Board]:
    """GPU by GPU where the node agent tells, as long as it agrees with what pods have asked for."""
    profiles = _profiles(node)
    held = {name: used.get(catalogue.resource_name(name), 0) for name in profiles}
    idle = {name: node.allocatable[catalogue.resource_name(name)] - held[name] for name in profiles}
    boards = list(_read_map(node))
    told: collections.Counter[str] = collections.Counter()
    for board in boards:
        told.update(board.idle)
    if boards and all(told[name] == max(0, idle[name]) for name in profiles):
        yield from boards
        return
    yield Board({name: number for name, number in idle.items() if number > 0}, sum(held.values()))


def _read_map(node: fleet.Node) -> Iterator[Board]:
    if node.devices is None:
        return
    for gpu in node.devices.gpus:
        if gpu.mig and not gpu.pod:
            free = (one.profile for one in gpu.instances if not one.pod)
            yield Board(collections.Counter(free), sum(1 for one in gpu.instances if one.pod))
