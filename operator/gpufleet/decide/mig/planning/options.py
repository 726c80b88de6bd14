"""What can become of a GPU: to stay as it is, or to hold other slices beside those that stay."""

from __future__ import annotations

import bisect
import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence

from gpufleet.decide.mig import devices, geometry
from gpufleet.decide.mig.planning import market, values

Counts = tuple[tuple[str, int], ...]
"""Instances per profile."""

_FEW_MOVABLE = 3
"""Up to so many movable instances of a GPU are moved in every combination; else all or none."""
_DISTURBANCE = 1e-6
"""What a change costs at least, so that of equal plans the one with fewer changes is taken."""
_MOVE = 1e-4


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """The largest sets of wanted slices that fit beside what stays on a GPU; at least the empty one."""

    number: int
    counts: tuple[Counts, ...]
    supplies: tuple[market.Supply, ...]
    """The same as goods."""


@dataclasses.dataclass(frozen=True, slots=True)
class Variant:
    """Some instances stay, and any set of the table is created beside them."""

    base: market.Supply
    table: Table
    cost: float
    """The blackout in units of demand, with a trifle for every change and more for every move."""


@dataclasses.dataclass(frozen=True, slots=True)
class Option:
    """One future of a GPU; `variant` and `entry` of its table tell which, None that nothing happens."""

    supply: market.Supply
    cost: float
    variant: int | None = None
    entry: int = 0


@dataclasses.dataclass(frozen=True)
class Choices:
    """All options of a GPU, numbered: 0 is to stay as it is, then come the tables of the variants in turn."""

    keep: market.Supply
    variants: tuple[Variant, ...]
    _options: dict[int, Option] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    @functools.cached_property
    def firsts(self) -> tuple[int, ...]:
        """The number of the first option of each variant."""
        sizes = (len(one.table.supplies) for one in self.variants)
        return tuple(itertools.accumulate(sizes, initial=1))

    def option(self, number: int) -> Option:
        """The option of this number."""
        found = self._options.get(number)
        if found is None:
            found = self._options[number] = self._make(number)
        return found

    def _make(self, number: int) -> Option:
        if not number:
            return Option(self.keep, 0.0)
        variant = bisect.bisect_right(self.firsts, number) - 1
        found, entry = self.variants[variant], number - self.firsts[variant]
        return Option(_add(found.base, found.table.supplies[entry]), found.cost, variant, entry)

    @functools.cached_property
    def all(self) -> tuple[Option, ...]:
        """Every option: for small fleets."""
        return tuple(self.option(number) for number in range(self.firsts[-1]))


class Tables:
    """Tables by what is left of a GPU, each worked out once."""

    def __init__(self, wanted: market.Market) -> None:
        self._good_of = wanted.good_of
        self._profiles = {
            model.name: tuple(
                profile for profile in model.profiles if (model.name, profile.name) in wanted.good_of
            )
            for model in wanted.models.values()
        }
        self._found: dict[tuple[str, int, bool, int], Table] = {}

    def find(self, model: devices.DeviceModel, stay: Sequence[geometry.Placement]) -> Table:
        """The table beside instances that stay."""
        shapes = [geometry.profile_of(model, one.profile).shape for one in stay]
        engines = model.family.media_engines if model.family else 0
        left = engines - sum(shape.media_engines for shape in shapes)
        taken = geometry.occupied_mask(model, stay)
        key = (model.name, taken, any(shape.takes_extension for shape in shapes), left)
        if key not in self._found:
            counts = fit(self._profiles[model.name], *key[1:], shapes)
            supplies = tuple(
                _add((), tuple((self._good_of[model.name, profile], number) for profile, number in one))
                for one in counts
            )
            self._found[key] = Table(len(self._found), tuple(counts), supplies)
        return self._found[key]


def fit(
    profiles: Sequence[devices.Profile],
    taken: int,
    has_extension: bool,
    engines: int,
    beside: Iterable[devices.Shape] = (),
) -> list[Counts]:
    """Largest counts of the profiles that fit beside what is taken, in a fixed order.

    Walks over the memory units; what may follow depends on little, so it is worked out once.
    """
    held = [one.key for one in beside]
    room = [one.shape.max_instances - held.count(one.shape.key) for one in profiles]
    last = max((one.shape.starts[-1] for one in profiles), default=-1)

    @functools.cache
    def follow(unit: int, extension: bool, media: int) -> frozenset[tuple[int, ...]]:
        if unit > last:
            return frozenset({(0,) * len(profiles)})
        found = set(follow(unit + 1, extension, media))
        for index, one in enumerate(profiles):
            shape = one.shape
            mask = ((1 << shape.size) - 1) << unit
            if unit not in shape.starts or taken & mask or shape.media_engines > media:
                continue
            if shape.takes_extension and extension:
                continue
            below = follow(unit + shape.size, extension or shape.takes_extension, media - shape.media_engines)
            found.update(_plus(counts, index) for counts in below if counts[index] < room[index])
        return frozenset(found)

    every = follow(0, has_extension, engines)
    largest = [one for one in every if not any(_plus(one, index) in every for index in range(len(one)))]
    return [
        tuple((profile.name, number) for profile, number in zip(profiles, one, strict=True) if number)
        for one in sorted(largest, reverse=True)
    ]


def _plus(counts: tuple[int, ...], index: int) -> tuple[int, ...]:
    return (*counts[:index], counts[index] + 1, *counts[index + 1 :])


def build(
    gpu: values.Gpu, tables: Tables, wanted: market.Market, policy: values.Policy, *, is_large: bool
) -> Choices:
    """All options of a GPU; in a large fleet only the usual ones."""
    keep = supply_of(gpu, gpu.instances, wanted)
    if gpu.is_frozen or not gpu.model.is_mig_capable:
        return Choices(keep, ())
    variants = []
    for stay in stays(gpu, is_large=is_large):
        table = tables.find(gpu.model, [one.placement for one in stay])
        variants.append(Variant(supply_of(gpu, stay, wanted), table, _cost(gpu, stay, policy)))
    return Choices(keep, tuple(variants))


def supply_of(gpu: values.Gpu, instances: Iterable[values.Instance], wanted: market.Market) -> market.Supply:
    """What instances offer: idle ones, and those of movable pods, whose own demand is in the market.

    The pods of a frozen GPU stay where they are and count on neither side.
    """
    offered = (one for one in instances if not one.busy or not (one.is_pinned or gpu.is_frozen))
    return wanted.supply_of(gpu.model.name, (one.placement for one in offered))


def stays(gpu: values.Gpu, *, is_large: bool) -> Iterator[tuple[values.Instance, ...]]:
    """Sets of instances that may stay, the largest first: the variants of a GPU, in their order."""
    if gpu.grain is values.Grain.GPU:
        yield ()
        return
    pinned = [one for one in gpu.instances if one.is_pinned]
    movable = [one for one in gpu.instances if one.busy and one.movable]
    if len(pinned) + len(movable) < len(gpu.instances):
        yield gpu.instances
    few = len(movable) <= _FEW_MOVABLE and not is_large
    for size in range(len(movable), -1, -1) if few else dict.fromkeys((len(movable), 0)):
        for some in itertools.combinations(movable, size):
            yield tuple(one for one in gpu.instances if one in pinned or one in some)


def _cost(gpu: values.Gpu, stay: Sequence[values.Instance], policy: values.Policy) -> float:
    gone = [one for one in gpu.instances if one not in stay]
    return blackout_cost(gpu.grain, gone, policy) + _DISTURBANCE + _MOVE * sum(one.busy for one in gone)


def blackout_cost(grain: values.Grain, gone: Sequence[values.Instance], policy: values.Policy) -> float:
    """What their absence costs, in units of demand: a change of a whole GPU costs at least one slice's."""
    weight = sum(one.weight if one.busy else 1.0 for one in gone)
    if grain is values.Grain.GPU:
        weight = max(weight, 1.0)
    return weight * policy.blackout_s / policy.horizon_s


def _add(base: market.Supply, more: Sequence[tuple[int, int]]) -> market.Supply:
    found = dict(base)
    for good, slices in more:
        found[good] = found.get(good, 0) + slices
    return tuple(sorted(found.items()))
