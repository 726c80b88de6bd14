"""The fleet as the planner counts it, GPUs that are alike as one group; and what became of it."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Hashable, Iterable, Mapping

from gpufleet.decide.mig import geometry
from gpufleet.decide.mig.planning import market, options, prices, recipes, values

Key = tuple[str, int]
"""A GPU: node and index."""


class Fleet:
    """GPUs by group. Groups are numbered; a node may be taken out and put in again."""

    def __init__(
        self,
        wanted: market.Market,
        policy: values.Policy,
        forecast: Mapping[str, float],
        gpus: Iterable[values.Gpu],
        *,
        is_large: bool,
    ) -> None:
        self.market = wanted
        self._policy = policy
        self._tables = options.Tables(wanted)
        self._forecast = forecast
        self._models: list[str] = []
        self._rooms: list[float] = []
        self.is_large = is_large
        self._known: dict[Hashable, int] = {}
        self._numbers: dict[Hashable, int] = {}
        self.choices: list[options.Choices] = []
        self.members: list[dict[Key, values.Gpu]] = []
        for gpu in gpus:
            self.add(gpu)

    def add(self, gpu: values.Gpu) -> int:
        """Put a GPU in; the number of its group."""
        number = self.number_of(gpu)
        self.members[number][gpu.node, gpu.index] = gpu
        return number

    def remove(self, gpu: values.Gpu) -> int:
        """Take a GPU out; the number of the group that it was in."""
        number = self.number_of(gpu)
        del self.members[number][gpu.node, gpu.index]
        return number

    def number_of(self, gpu: values.Gpu) -> int:
        """The group of GPUs that have the same options; a new one if there is none yet."""
        key = (gpu.model.name, gpu.grain, gpu.instances)
        number = self._known.get(key)
        if number is None:
            found = options.build(gpu, self._tables, self.market, self._policy, is_large=self.is_large)
            sort = (
                gpu.model.name,
                found.keep,
                tuple((one.base, one.table.number, one.cost) for one in found.variants),
            )
            number = self._known[key] = self._numbers.setdefault(sort, len(self.choices))
            if number == len(self.choices):
                self.choices.append(found)
                self._models.append(gpu.model.name)
                self._rooms.append(self._find_room(gpu))
                self.members.append({})
        return number

    def _find_room(self, gpu: values.Gpu) -> float:
        """In a large fleet which of equal GPUs is taken matters less than the time it takes to tell."""
        if self.is_large or gpu.grain is values.Grain.GPU:
            return 0.0
        return recipes.find_room(
            gpu.model, [one.placement for one in gpu.instances if one.busy], self._forecast
        )

    def groups(self) -> list[prices.Group]:
        """All groups with their present sizes."""
        return [
            prices.Group(found, len(members), model, room)
            for found, members, model, room in zip(
                self.choices, self.members, self._models, self._rooms, strict=True
            )
        ]


def count_running(gpus: Iterable[values.Gpu]) -> dict[tuple[str, str], int]:
    """Busy slices that may move, by (model, profile)."""
    found: collections.Counter[tuple[str, str]] = collections.Counter()
    for gpu in gpus:
        if gpu.instances and not gpu.is_frozen:
            found.update(
                (gpu.model.name, one.placement.profile)
                for one in gpu.instances
                if one.busy and not one.is_pinned
            )
    return dict(found)


def carry_out(gpus: Iterable[values.Gpu], plan: values.Plan) -> tuple[values.Gpu, ...]:
    """The fleet when the plan is done: pods that were moved have slices again, new ones have none yet."""
    recipe_of = {(change.node, change.index): change.recipe for change in plan.changes}
    moved: collections.Counter[tuple[str, str, float]] = collections.Counter()
    after = []
    for gpu in gpus:
        recipe = recipe_of.get((gpu.node, gpu.index))
        if recipe is not None:
            gone = [one for one in gpu.instances if one.placement in recipe.destroyed]
            moved.update((gpu.model.name, one.placement.profile, one.weight) for one in gone if one.busy)
            gpu = dataclasses.replace(gpu, instances=rebuild(gpu, recipe))
        after.append(gpu)
    return tuple(_take_back(gpu, moved) for gpu in after)


def rebuild(gpu: values.Gpu, recipe: values.Recipe) -> tuple[values.Instance, ...]:
    """The instances of a GPU after its recipe, new ones idle."""
    kept = {one.placement: one for one in gpu.instances if one.placement not in recipe.destroyed}
    return tuple(
        kept.get(placement, values.Instance(placement))
        for placement in sorted(recipe.after.placements, key=lambda one: one.start)
    )


def _take_back(gpu: values.Gpu, moved: collections.Counter[tuple[str, str, float]]) -> values.Gpu:
    """Idle slices are taken by pods that lost one of the same profile on the same model."""
    instances = list(gpu.instances)
    for position, one in enumerate(instances):
        for key in sorted(moved) if not one.busy else ():
            if moved[key] and key[:2] == (gpu.model.name, one.placement.profile):
                moved[key] -= 1
                instances[position] = dataclasses.replace(one, busy=True, movable=True, weight=key[2])
                break
    return dataclasses.replace(gpu, instances=tuple(instances))


def measure_fragmentation(gpus: Iterable[values.Gpu], forecast: Mapping[str, float]) -> float:
    """Mean share of a GPU that is free and of no use to the forecast profiles; equal layouts count once."""
    layouts: collections.Counter[tuple[str, tuple[geometry.Placement, ...]]] = collections.Counter()
    models = {}
    for gpu in gpus:
        models[gpu.model.name] = gpu.model
        layouts[gpu.model.name, tuple(one.placement for one in gpu.instances)] += 1
    stranded = sum(
        number * recipes.stranded_share(models[name], placements, forecast)
        for (name, placements), number in layouts.items()
    )
    return stranded / layouts.total() if layouts else 0.0
