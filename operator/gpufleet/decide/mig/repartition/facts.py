"""What is known of one node: its layout, who holds which GPU, and what stands on it in our words."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from gpufleet.decide.mig import catalogue, devices, geometry
from gpufleet.decide.mig.planning import values
from gpufleet.decide.mig.repartition import holders as holding
from gpufleet.decide.mig.repartition import reasons
from gpufleet.decide.mig.repartition.holders import Holder
from gpufleet.state import devices as published
from gpufleet.state import fleet, mig, names

SUCCESS = "success"
FAILED = "failed"
PAUSED = "paused-for-mig-change"

R = TypeVar("R")
Trouble = tuple[str, str]
"""Reason and message."""


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """One node. `problem` is why nothing may begin on it; what is under way goes on as far as it can.

    `layout` is None where it is not known. `gpus` are those of the node's map, empty where there is none
    that can be trusted. `strangers` are pods that may hold any of the GPUs.
    """

    node: fleet.Node
    model: devices.DeviceModel | None
    layout: mig.Layout | None = None
    gpus: tuple[published.Gpu, ...] = ()
    holders: Mapping[int, tuple[Holder, ...]] = dataclasses.field(default_factory=dict)
    strangers: tuple[Holder, ...] = ()
    problem: Trouble | None = None
    change: mig.Change | None = None
    wanted: mig.Wanted | None = None
    hold: mig.Hold | None = None
    cuts: mig.Cuts = mig.NO_CUTS
    is_broken: bool = False
    """Whether the record of a change cannot be read."""

    @property
    def label(self) -> str:
        return self.node.labels.get(names.MIG_CONFIG_LABEL, "")

    @property
    def state(self) -> str:
        return self.node.labels.get(names.MIG_STATE_LABEL, "")

    @property
    def paused(self) -> tuple[str, ...]:
        """Labels with which mig-manager has paused other parts of the GPU operator."""
        return tuple(
            sorted(
                key
                for key, value in self.node.labels.items()
                if key.startswith(names.GPU_DEPLOY_LABELS) and value == PAUSED
            )
        )

    def find_holders(self, gpus: Iterable[int]) -> tuple[Holder, ...]:
        """Everyone who holds, or may hold, one of these GPUs; each once, by name."""
        found = {one.name: one for one in self.strangers}
        for index in gpus:
            found |= {one.name: one for one in self.holders.get(index, ())}
        return tuple(found[name] for name in sorted(found))

    def find_affected(self, before: mig.Layout | None, after: mig.Layout) -> frozenset[int]:
        """GPUs that such a change may touch. On Ampere a change of mode resets all GPUs of the node."""
        if before is None:
            return frozenset(after.by_index) | frozenset(self.holders)
        everything = frozenset(before.by_index) | frozenset(after.by_index)
        if self.model and self.model.keeps_mig_mode_over_reboot and after.switched_from(before):
            return everything
        return after.changed_from(before)


def read(node: fleet.Node, pods: Iterable[fleet.Pod]) -> Facts:
    """The facts of a node and of the pods that are bound to it."""
    model = catalogue.model_of_product(node.labels.get(names.GPU_PRODUCT_LABEL, ""))
    node = _place_unplaced(node, model)
    bound = [
        pod for pod in pods if pod.node == node.name and not pod.is_terminal and holding.asks_for_gpus(pod)
    ]
    change, is_broken = _read_record(node, names.MIG_CHANGE_ANNOTATION, mig.Change.from_text)
    wanted, _ = _read_record(node, names.MIG_WANTED_ANNOTATION, mig.Wanted.from_text)
    hold, _ = _read_record(node, names.MIG_HOLD_ANNOTATION, mig.Hold.from_text)
    cuts, _ = _read_record(node, names.MIG_CUTS_ANNOTATION, mig.Cuts.from_text)
    found = Facts(
        node,
        model,
        change=change,
        wanted=wanted,
        hold=hold,
        cuts=cuts or mig.NO_CUTS,
        is_broken=is_broken,
    )
    stale = _why_stale(node, model)
    if node.devices is None or model is None or stale:
        known = _from_label(found)
        return dataclasses.replace(
            found,
            layout=known,
            gpus=_imagine(known, model) if known and model and not bound else (),
            strangers=tuple(Holder(holding.name_of(pod), pod) for pod in bound),
            problem=_find_problem(found) or stale or (None if known else _missing(node)),
        )
    layout = _layout_of(node.devices, model)
    holders, strangers = holding.find(node.devices, bound)
    return dataclasses.replace(
        found,
        layout=layout,
        gpus=node.devices.gpus,
        holders=holders,
        strangers=strangers,
        problem=_find_problem(found) or _compare_labels(node, model, layout),
    )


def build_gpus(facts: Facts, *, drains: bool) -> tuple[values.Gpu, ...]:
    """The node's GPUs in MIG mode as the planner takes them; all busy where a stranger may hold any."""
    if facts.model is None:
        return ()
    found = []
    for gpu in facts.gpus:
        if gpu.mig and not gpu.pod:
            instances = tuple(_instance(facts, gpu.index, one, drains=drains) for one in gpu.instances)
            found.append(values.Gpu(facts.node.name, gpu.index, facts.model, instances))
    return tuple(found)


def _instance(facts: Facts, index: int, one: published.Instance, *, drains: bool) -> values.Instance:
    assert facts.model is not None
    profile = geometry.profile_of(facts.model, one.profile)
    movable = False
    if one.pod and drains:
        name = "/".join(one.pod.split("/")[:2])
        movable = any(holder.name == name and holder.can_go for holder in facts.holders.get(index, ()))
    weight = float(profile.shape.compute)
    return values.Instance(geometry.Placement(profile.name, one.start), bool(one.pod), movable, weight)


def _read_record(node: fleet.Node, key: str, parse: Callable[[str], R]) -> tuple[R | None, bool]:
    text = node.annotations.get(key)
    if text is None:
        return None, False
    try:
        return parse(text), False
    except mig.RecordError:
        return None, True


def _find_problem(facts: Facts) -> Trouble | None:
    node, product = facts.node, facts.node.labels.get(names.GPU_PRODUCT_LABEL, "")
    if facts.model is None:
        return reasons.UNKNOWN_DEVICE, f"node {node.name}: no device {product or 'at all'} is known"
    if not facts.model.is_mig_capable:
        return reasons.NOT_MIG_CAPABLE, f"node {node.name}: {facts.model.name} cannot be cut into MIG slices"
    if node.claimable:
        return (
            reasons.SLICES_BY_CLAIM,
            f"node {node.name}: a DRA driver makes its slices for claims; nobody else may cut its GPUs",
        )
    strategy = node.labels.get(names.MIG_STRATEGY_LABEL, "mixed")
    if strategy != "mixed":
        return (
            reasons.STRATEGY_NOT_MIXED,
            f"node {node.name}: its device plugin has the strategy {strategy}, under which layouts cannot "
            "differ: set mig.strategy=mixed in the GPU operator",
        )
    if not node.ready:
        return reasons.NODE_NOT_READY, f"node {node.name} is not Ready"
    if node.unschedulable:
        return reasons.NODE_CORDONED, f"node {node.name} is cordoned: kubectl uncordon {node.name}"
    return None


def _why_stale(node: fleet.Node, model: devices.DeviceModel | None) -> Trouble | None:
    found = node.devices
    if found is None or model is None:
        return None
    if found.boot_id != node.boot_id:
        return reasons.DEVICE_MAP_STALE, f"node {node.name}: its device map is from before its last boot"
    if any(gpu.index < 0 for gpu in found.gpus):
        return reasons.DEVICE_MAP_STALE, f"node {node.name}: its agent cannot tell one GPU from another"
    for gpu in found.gpus:
        try:
            why = geometry.why_illegal(model, (geometry.Placement(i.profile, i.start) for i in gpu.instances))
        except geometry.UnknownProfileError as error:
            why = str(error)
        if why:
            return reasons.DEVICE_MAP_STALE, f"node {node.name}, GPU {gpu.index}: {why}"
    return None


def _place_unplaced(node: fleet.Node, model: devices.DeviceModel | None) -> fleet.Node:
    """Where the driver tells no starts, those that it chooses on an empty GPU: whole GPUs change anyway."""
    known = node.devices
    if known is None or model is None or all(it.start >= 0 for gpu in known.gpus for it in gpu.instances):
        return node
    gpus = tuple(
        _place(gpu, model) if any(it.start < 0 for it in gpu.instances) else gpu for gpu in known.gpus
    )
    return dataclasses.replace(node, devices=dataclasses.replace(known, gpus=gpus))


def _place(gpu: published.Gpu, model: devices.DeviceModel) -> published.Gpu:
    """As it is where that cannot be; then the map is not believed."""
    try:
        order = list(geometry.creation_order(model, [one.profile for one in gpu.instances]))
    except (geometry.NoLayoutError, geometry.UnknownProfileError):
        return gpu
    placed = []
    for one in gpu.instances:
        name = geometry.profile_of(model, one.profile).name
        place = next(it for it in order if it.profile == name)
        order.remove(place)
        placed.append(dataclasses.replace(one, start=place.start))
    return dataclasses.replace(gpu, instances=tuple(sorted(placed, key=lambda it: it.start)))


def _missing(node: fleet.Node) -> Trouble:
    return (
        reasons.DEVICE_MAP_MISSING,
        f"node {node.name}: nobody has published which pod holds which GPU: is the node agent running there?",
    )


def _from_label(facts: Facts) -> mig.Layout | None:
    """Without a map: what our own configuration has made, as long as the node still offers just that."""
    wanted = facts.wanted
    if wanted is None or facts.label != wanted.config or facts.state != SUCCESS:
        return None
    is_known = facts.model is not None and is_possible(wanted.layout, facts.model)
    return wanted.layout if is_known and offers(facts.node, wanted.layout) else None


def is_possible(layout: mig.Layout, model: devices.DeviceModel) -> bool:
    """Whether every GPU of this model can be cut so."""
    try:
        return all(
            geometry.is_count_feasible(model, [name for name, number in slices or () for _ in range(number)])
            for _, slices in layout.gpus
        )
    except geometry.UnknownProfileError:
        return False


def _imagine(layout: mig.Layout, model: devices.DeviceModel) -> tuple[published.Gpu, ...]:
    """GPUs that nobody holds, their instances where the driver has made them from an empty GPU."""
    found = []
    for index, slices in layout.gpus:
        wanted = [name for name, number in slices or () for _ in range(number)]
        placed = geometry.Layout.of(geometry.creation_order(model, wanted)).placements
        instances = tuple(published.Instance("", one.profile, one.start) for one in placed)
        found.append(published.Gpu(index, "", model.name, slices is not None, instances))
    return tuple(found)


def offers(node: fleet.Node, layout: mig.Layout) -> bool:
    """Whether the node's allocatable slices are just those of the layout."""
    prefix = catalogue.MIG_RESOURCE_PREFIX
    now = {name: number for name, number in node.allocatable.items() if name.startswith(prefix) and number}
    return now == {catalogue.resource_name(name): number for name, number in layout.totals.items()}


def _compare_labels(node: fleet.Node, model: devices.DeviceModel, layout: mig.Layout) -> Trouble | None:
    """What feature discovery counts must be what the map holds; one of them is late otherwise."""
    suffix, counted = ".count", {}
    for key, value in node.labels.items():
        name = catalogue.profile_of_resource(key.removesuffix(suffix)) if key.endswith(suffix) else None
        profile = catalogue.profile(model, name) if name else None
        if profile and value.isdecimal() and int(value):
            counted[profile.name] = int(value)
    if counted == layout.totals or (not counted and names.MIG_STRATEGY_LABEL not in node.labels):
        return None
    return (
        reasons.DEVICE_MAP_STALE,
        f"node {node.name}: its device map has {describe(layout.totals)}, its labels {describe(counted)}",
    )


def describe(slices: Mapping[str, int]) -> str:
    """Slices as people read them."""
    return ", ".join(f"{number} × {name}" for name, number in sorted(slices.items())) or "no slices"


def _layout_of(found: published.DeviceMap, model: devices.DeviceModel) -> mig.Layout:
    slices: dict[int, Mapping[str, int] | None] = {}
    for gpu in found.gpus:
        counted = collections.Counter(geometry.profile_of(model, one.profile).name for one in gpu.instances)
        slices[gpu.index] = counted if gpu.mig else None
    return mig.Layout.of(slices)
