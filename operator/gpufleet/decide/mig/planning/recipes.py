"""From a chosen option to what is done to a GPU: which instances go, where new ones are made, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gpufleet.decide.mig import devices, geometry
from gpufleet.decide.mig.planning import options, values


def plan_gpu(
    gpu: values.Gpu, created: tuple[geometry.Placement, ...], policy: values.Policy
) -> values.Recipe | None:
    """Whole GPU: cleared, then created by the driver. None where it holds the same counts already."""
    before = geometry.Layout.of(one.placement for one in gpu.instances)
    after = geometry.Layout.of(created)
    if after.counts == before.counts:
        return None
    return values.Recipe(
        before=before,
        after=after,
        destroyed=before.placements,
        created=created,
        moved=sum(one.busy for one in gpu.instances),
        cost=options.blackout_cost(gpu.grain, gpu.instances, policy),
    )


def cut_whole(
    model: devices.DeviceModel, counts: Mapping[str, int], forecast: Mapping[str, float]
) -> tuple[geometry.Placement, ...]:
    """A whole GPU for the wanted slices, in the order in which the driver creates them all.

    What they leave free is cut for the forecast, since nothing can be added beside them later.
    """
    wanted = fill(model, counts, forecast)
    return geometry.creation_order(model, _expand(wanted))


def plan_instances(
    gpu: values.Gpu,
    stay: Sequence[values.Instance],
    counts: Mapping[str, int],
    policy: values.Policy,
    forecast: Mapping[str, float] | None,
) -> values.Recipe | None:
    """Instance by instance: what is wanted and there already stays; None where nothing has to be done.

    Idle instances that are in nobody's way stay too. Without a forecast starts are taken as they come.
    """
    missing = dict(counts)
    kept = list(stay)
    rest = [one for one in gpu.instances if one not in stay]
    for one in sorted(rest, key=lambda it: not it.busy):
        name = one.placement.profile
        if missing.get(name) and _leaves_room(gpu.model, [*kept, one], {**missing, name: missing[name] - 1}):
            missing[name] -= 1
            kept.append(one)
    created = place(gpu.model, missing, [one.placement for one in kept], forecast)
    for one in rest:
        held = [*created, *(it.placement for it in kept)]
        if one not in kept and not one.busy and geometry.is_legal(gpu.model, [*held, one.placement]):
            kept.append(one)
    gone = [one for one in gpu.instances if one not in kept]
    if not gone and not created:
        return None
    return values.Recipe(
        before=geometry.Layout.of(one.placement for one in gpu.instances),
        after=geometry.Layout.of([*created, *(one.placement for one in kept)]),
        destroyed=tuple(one.placement for one in gone),
        created=created,
        moved=sum(one.busy for one in gone),
        cost=options.blackout_cost(gpu.grain, gone, policy),
    )


def place(
    model: devices.DeviceModel,
    counts: Mapping[str, int],
    occupied: Sequence[geometry.Placement],
    forecast: Mapping[str, float] | None,
) -> tuple[geometry.Placement, ...]:
    """Starts for new instances, largest first, each where it spoils least and the others still fit.

    Raises geometry.NoLayoutError if they do not fit.
    """
    names = geometry.largest_first(model, _expand(counts))
    fallback = geometry.creation_order(model, names, occupied)
    if forecast is None:
        return fallback
    placed: list[geometry.Placement] = []
    for position, name in enumerate(names):
        held = (*occupied, *placed)
        best = geometry.Placement(name, geometry.best_start(model, held, name, forecast or None))
        if _fits(model, (*held, best), names[position + 1 :]):
            placed.append(best)
        else:
            return fallback
    return tuple(placed)


def fill(
    model: devices.DeviceModel, counts: Mapping[str, int], forecast: Mapping[str, float]
) -> dict[str, int]:
    """The wanted counts and, in what they leave free, what the forecast weighs most; larger slices first."""
    known = {
        name: weight
        for spelling, weight in forecast.items()
        if (found := model.profiles_by_name.get(spelling)) and (name := found.name) and weight > 0
    }
    wanted = {name: number for name, number in counts.items() if number}
    order = sorted(known, key=lambda name: (-known[name] * _size(model, name), name))
    for name in order:
        while geometry.is_count_feasible(model, [*_expand(wanted), name]):
            wanted[name] = wanted.get(name, 0) + 1
    return dict(sorted(wanted.items()))


def stranded_share(
    model: devices.DeviceModel, placements: Sequence[geometry.Placement], forecast: Mapping[str, float]
) -> float:
    """Part of a GPU that is free and that the forecast profiles, by weight, cannot use.

    Fragmentation by FGD (USENIX ATC 2023) with placements in place of fractions: units that no legal
    placement of a profile reaches, weighed by how much that profile is expected.
    """
    free = geometry.free_units(model, placements)
    if not free or not model.family:
        return 0.0
    known = {name: weight for name, weight in forecast.items() if name in model.profiles_by_name}
    total = sum(known.values())
    if not total:
        return 0.0
    lost = 0.0
    for name, weight in sorted(known.items()):
        size = geometry.profile_of(model, name).shape.size
        starts = geometry.legal_starts(model, placements, name)
        reached = {unit for start in starts for unit in range(start, start + size)}
        lost += weight * len(free - reached)
    return lost / total / model.family.memory_units


def find_room(
    model: devices.DeviceModel, placements: Sequence[geometry.Placement], forecast: Mapping[str, float]
) -> float:
    """What the forecast profiles could make of a GPU beside these instances: memory units that each, alone,
    can still use, by weight."""
    room = 0.0
    for name, weight in sorted(forecast.items()):
        if name in model.profiles_by_name:
            size = geometry.profile_of(model, name).shape.size
            starts = geometry.legal_starts(model, placements, name)
            room += weight * len({unit for start in starts for unit in range(start, start + size)})
    return room


def _leaves_room(
    model: devices.DeviceModel, kept: Sequence[values.Instance], counts: Mapping[str, int]
) -> bool:
    placements = [one.placement for one in kept]
    return geometry.is_legal(model, placements) and _fits(model, placements, _expand(counts))


def _fits(model: devices.DeviceModel, occupied: Sequence[geometry.Placement], names: Sequence[str]) -> bool:
    try:
        geometry.creation_order(model, names, occupied)
    except geometry.NoLayoutError:
        return False
    return True


def _expand(counts: Mapping[str, int]) -> list[str]:
    return [name for name, number in counts.items() for _ in range(number)]


def _size(model: devices.DeviceModel, name: str) -> int:
    return geometry.profile_of(model, name).shape.size
