"""Who does what: chosen options given to single GPUs, on as few nodes as possible, and written as changes."""

from __future__ import annotations

import collections
from collections.abc import Mapping

from gpufleet.decide.mig import geometry
from gpufleet.decide.mig.planning import explain, market, options, recipes, search, values
from gpufleet.decide.mig.planning.fleet import Fleet, Key, rebuild

Held = tuple[int, int]
"""A group and one of its options."""


class Book:
    """The GPUs that take another option than to stay, and their changes. Follows a choice as it changes."""

    def __init__(
        self, wanted: market.Market, fleet: Fleet, policy: values.Policy, forecast: Mapping[str, float]
    ) -> None:
        self.market = wanted
        """May be replaced by one with the same goods."""
        self._fleet = fleet
        self._policy = policy
        self._forecast = forecast
        self._recipes: dict[object, tuple[values.Recipe, str, market.Supply] | None] = {}
        self._cuts: dict[object, tuple[geometry.Placement, ...]] = {}
        self._taken: dict[Key, int] = {}
        self._holders: dict[Held, dict[Key, None]] = {}
        self._changes: dict[Key, values.Change] = {}
        self._order: list[Key] = []
        self._nodes: collections.Counter[str] = collections.Counter()
        self.moved = 0
        """Busy slices that move."""
        self.kept = search.Choice(wanted, fleet.groups()).supply
        """Slices by good as things are."""
        self.supply = list(self.kept)
        """Slices by good when all is done: without those that nobody needs, with those that had room."""

    @property
    def changes(self) -> tuple[values.Change, ...]:
        """In the order of nodes and indices. They are mostly in it already, which the sort makes use of."""
        self._order = sorted(key for key in dict.fromkeys(self._order) if key in self._changes)
        return tuple(self._changes[key] for key in self._order)

    @property
    def nodes(self) -> int:
        """How many nodes are disturbed."""
        return sum(number > 0 for number in self._nodes.values())

    def option_of(self, gpu: values.Gpu) -> int:
        """The option that a GPU takes."""
        return self._taken.get((gpu.node, gpu.index), 0)

    def add(self, gpu: values.Gpu) -> None:
        """A GPU has come; it stays as it is for now."""
        self._keep(gpu, 1)

    def remove(self, gpu: values.Gpu, group: int) -> None:
        """A GPU has gone, with what was planned for it."""
        if option := self.option_of(gpu):
            self._release((group, option), gpu)
        self._keep(gpu, -1)

    def clear(self) -> None:
        """Everything stays as it is."""
        for held in sorted(self._holders):
            for key in list(self._holders[held]):
                self._release(held, self._fleet.members[held[0]][key])

    def follow(self, counts: search.Counts) -> None:
        """Give GPUs other options until as many take each as `counts` says."""
        for held in sorted(self._holders):
            keys = list(self._holders[held])
            for key in keys[counts.get(held, 0) :]:
                self._release(held, self._fleet.members[held[0]][key])
        chosen = self._choose(counts)
        for held, gpu in chosen:
            self._take(held, gpu)
        slack = self.market.serve(self.supply)[1]
        for held, gpu in chosen:
            self._write(gpu, self._fleet.choices[held[0]], held[1], slack)

    def _choose(self, counts: search.Counts) -> list[tuple[Held, values.Gpu]]:
        """GPUs for options that lack some: nodes with most candidates first, so that few are disturbed."""
        missing: dict[int, list[list[int]]] = {}
        for (group, option), count in sorted(counts.items()):
            lacking = count - len(self._holders.get((group, option), ()))
            if option and lacking > 0:
                missing.setdefault(group, []).append([option, lacking])
        by_node: dict[str, list[tuple[int, values.Gpu]]] = collections.defaultdict(list)
        for group in missing:
            for key, gpu in self._fleet.members[group].items():
                if key not in self._taken:
                    by_node[gpu.node].append((group, gpu))
        order = sorted(by_node, key=lambda node: (not self._nodes[node], -len(by_node[node]), node))
        chosen = []
        for node in order:
            for group, gpu in by_node[node]:
                if lacks := missing[group]:
                    chosen.append(((group, lacks[0][0]), gpu))
                    lacks[0][1] -= 1
                    if not lacks[0][1]:
                        lacks.pop(0)
        return chosen

    def _take(self, held: Held, gpu: values.Gpu) -> None:
        key = (gpu.node, gpu.index)
        self._taken[key] = held[1]
        self._holders.setdefault(held, {})[key] = None
        self._offer(self._fleet.choices[held[0]].keep, -1)
        self._offer(self._fleet.choices[held[0]].option(held[1]).supply, 1)

    def _release(self, held: Held, gpu: values.Gpu) -> None:
        key = (gpu.node, gpu.index)
        del self._taken[key]
        del self._holders[held][key]
        if change := self._changes.pop(key, None):
            self.moved -= change.recipe.moved
            self._nodes[gpu.node] -= 1
            self._offer(options.supply_of(gpu, rebuild(gpu, change.recipe), self.market), -1)
            self._offer(options.supply_of(gpu, gpu.instances, self.market), 1)

    def _write(self, gpu: values.Gpu, choices: options.Choices, number: int, slack: list[int]) -> None:
        option = choices.option(number)
        if option.variant is None:
            return
        counts = self._trim(gpu, choices.variants[option.variant].table.counts[option.entry], slack)
        key = (gpu.model.name, gpu.grain, gpu.instances, option.variant, counts)
        if key not in self._recipes:
            self._recipes[key] = self._plan(gpu, option.variant, dict(counts))
        self._offer(option.supply, -1)
        if (found := self._recipes[key]) is None:
            self._offer(choices.keep, 1)
            return
        recipe, reason, supply = found
        self._offer(supply, 1)
        self._changes[gpu.node, gpu.index] = values.Change(gpu.node, gpu.index, recipe, reason)
        self._order.append((gpu.node, gpu.index))
        self.moved += recipe.moved
        self._nodes[gpu.node] += 1

    def _trim(self, gpu: values.Gpu, wanted: options.Counts, slack: list[int]) -> options.Counts:
        """The slices of an option without those that demand leaves over: the forecast knows better."""
        counts = dict(wanted)
        for profile in sorted(counts):
            above = self.market.sets_of_good[self.market.good_of[gpu.model.name, profile]]
            while counts[profile] and all(slack[one] > 0 for one in above):
                counts[profile] -= 1
                for one in above:
                    slack[one] -= 1
        return tuple(sorted((profile, number) for profile, number in counts.items() if number))

    def _plan(
        self, gpu: values.Gpu, variant: int, counts: Mapping[str, int]
    ) -> tuple[values.Recipe, str, market.Supply] | None:
        """The recipe, its reason, and what the GPU then offers."""
        if gpu.grain is values.Grain.GPU:
            key = (gpu.model.name, tuple(counts.items()))
            if key not in self._cuts:
                self._cuts[key] = recipes.cut_whole(gpu.model, counts, self._forecast)
            recipe = recipes.plan_gpu(gpu, self._cuts[key], self._policy)
        else:
            stay = list(options.stays(gpu, is_large=self._fleet.is_large))[variant]
            forecast = None if self._fleet.is_large else self._forecast
            recipe = recipes.plan_instances(gpu, stay, counts, self._policy, forecast)
        if recipe is None:
            return None
        return recipe, explain.change(recipe), options.supply_of(gpu, rebuild(gpu, recipe), self.market)

    def _keep(self, gpu: values.Gpu, sign: int) -> None:
        supply = options.supply_of(gpu, gpu.instances, self.market)
        self._offer(supply, sign)
        for good, slices in supply:
            self.kept[good] += sign * slices

    def _offer(self, supply: market.Supply, sign: int) -> None:
        for good, slices in supply:
            self.supply[good] += sign * slices
