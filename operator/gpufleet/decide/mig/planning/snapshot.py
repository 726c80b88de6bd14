"""Reads what the planner needs from a document: nodes with their GPUs, demand, policy."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import pydantic
from pydantic import alias_generators

from gpufleet.api import meta
from gpufleet.decide.mig import catalogue, devices, geometry
from gpufleet.decide.mig.planning import values

_VARIANT = frozenset("+-")
"""Signs in the names of profiles with other engines (+me, +gfx, -me), which memory alone never asks for."""


class SnapshotError(ValueError):
    """The document cannot be planned for; the message says where and why."""


class _Wire(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, alias_generator=alias_generators.to_camel, validate_by_name=True
    )


_Count = Annotated[int, pydantic.Field(ge=0, le=1_000_000)]
_Weight = Annotated[float, pydantic.Field(gt=0, le=1e6, allow_inf_nan=False)]


class Instance(_Wire):
    """A GPU Instance. `movable` says of a busy one whether its pod may be stopped and started elsewhere."""

    profile: str
    start: _Count
    busy: bool = False
    movable: bool = False
    weight: _Weight = 1.0


class Gpu(_Wire):
    """A GPU whose MIG mode is on."""

    index: _Count
    instances: tuple[Instance, ...] = ()


class Node(_Wire):
    """A node; `device` is a model's name or the label nvidia.com/gpu.product."""

    name: str
    device: str
    grain: values.Grain | None = None
    gpus: tuple[Gpu, ...] = ()


class Demand(_Wire):
    """Slices that wait: by `profile`, or by `memory`, for which the smallest sufficient profile is taken."""

    profile: str | None = None
    memory: str | None = None
    device_class: Annotated[str | None, pydantic.Field(alias="class")] = None
    count: _Count = 1
    weight: _Weight = 1.0


class Policy(_Wire):
    """See `values.Policy`."""

    blackout_seconds: Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)] = 60.0
    horizon_seconds: Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)] = 3600.0
    forecast: dict[str, _Weight] = {}


class Document(_Wire):
    """The whole of it. `grain` is that of nodes that say nothing."""

    grain: values.Grain = values.Grain.GPU
    nodes: tuple[Node, ...]
    demand: tuple[Demand, ...] = ()
    policy: Policy = Policy()


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """What `planner.plan` takes."""

    gpus: tuple[values.Gpu, ...]
    demands: tuple[values.Demand, ...]
    policy: values.Policy


def parse(document: Any, known: catalogue.Catalogue | None = None) -> Problem:
    """The problem in a document as JSON gives it. Raises SnapshotError."""
    try:
        found = Document.model_validate(document)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise SnapshotError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    listed = known or catalogue.default()
    gpus = tuple(gpu for node in found.nodes for gpu in _read_node(node, found.grain, listed))
    if len({(gpu.node, gpu.index) for gpu in gpus}) < len(gpus):
        raise SnapshotError("nodes: a GPU is named twice: every node once, every index of it once")
    models = list({gpu.model.name: gpu.model for gpu in gpus}.values())
    demands = tuple(
        _read_demand(f"demand.{number}", one, models, listed) for number, one in enumerate(found.demand)
    )
    policy = found.policy
    return Problem(
        gpus, demands, values.Policy(policy.blackout_seconds, policy.horizon_seconds, policy.forecast)
    )


def _read_node(node: Node, grain: values.Grain, known: catalogue.Catalogue) -> Iterator[values.Gpu]:
    model = next((one for one in known.models if one.name == node.device), None)
    model = model or catalogue.model_of_product(node.device, known)
    if model is None:
        raise SnapshotError(f"node {node.name}: no device {node.device} is known")
    if not model.is_mig_capable:
        raise SnapshotError(f"node {node.name}: {model.name} cannot be cut into MIG slices; leave it out")
    for gpu in node.gpus:
        where = f"node {node.name}, GPU {gpu.index}"
        yield values.Gpu(node.name, gpu.index, model, _read_instances(where, gpu, model), node.grain or grain)


def _read_instances(where: str, gpu: Gpu, model: devices.DeviceModel) -> tuple[values.Instance, ...]:
    try:
        found = [
            values.Instance(
                geometry.Placement(geometry.profile_of(model, one.profile).name, one.start),
                one.busy,
                one.movable and one.busy,
                one.weight,
            )
            for one in gpu.instances
        ]
    except geometry.UnknownProfileError as error:
        raise SnapshotError(f"{where}: {error}") from error
    if reason := geometry.why_illegal(model, (one.placement for one in found)):
        raise SnapshotError(f"{where}: {reason}")
    return tuple(sorted(found, key=lambda one: one.placement.start))


def _read_demand(
    where: str, demand: Demand, models: Sequence[devices.DeviceModel], known: catalogue.Catalogue
) -> values.Demand:
    if (demand.profile is None) == (demand.memory is None):
        raise SnapshotError(f"{where}: say either profile or memory")
    allowed: frozenset[str] | None = None
    if demand.device_class is not None:
        of_class = catalogue.models_of_class(demand.device_class, known)
        if not of_class:
            raise SnapshotError(f"{where}: no device class {demand.device_class} is known")
        allowed = frozenset(model.name for model in of_class)
    if demand.profile is not None:
        if not any(demand.profile in model.profiles_by_name for model in known.models):
            raise SnapshotError(f"{where}: no device has a MIG profile {demand.profile}")
        return values.Demand(demand.profile, demand.count, demand.weight, allowed)
    candidates = [model for model in models if allowed is None or model.name in allowed]
    return _read_memory(where, demand, candidates)


def _read_memory(where: str, demand: Demand, models: Sequence[devices.DeviceModel]) -> values.Demand:
    """The smallest profile of the fleet with so much memory, on every model where it has that."""
    try:
        needed_mib = -(-meta.quantity_to_bytes(demand.memory or "") // 2**20)
    except ValueError as error:
        raise SnapshotError(f"{where}: memory {demand.memory} is no quantity, as 16Gi is") from error
    offers = sorted(
        (profile.memory_mib, profile.name, model.name)
        for model in models
        for profile in model.profiles
        if profile.memory_mib >= needed_mib and not set(profile.name) & _VARIANT
    )
    if not offers:
        raise SnapshotError(f"{where}: no slice of the fleet has {demand.memory} of memory")
    name = offers[0][1]
    return values.Demand(
        name, demand.count, demand.weight, frozenset(model for _, one, model in offers if one == name)
    )
