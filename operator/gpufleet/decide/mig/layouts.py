"""All ways to cut one GPU, with or without instances that stay, and how many there are."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from gpufleet.decide.mig import devices, geometry


@dataclasses.dataclass(frozen=True, slots=True)
class Census:
    """How many ways there are. Instances that stay are part of every layout."""

    layouts: int
    """Sets of placements, the empty one left out."""
    maximal: int
    """Those to which nothing can be added."""
    multisets: int
    """Distinct numbers of instances per profile."""
    pareto: int
    """Those that no other contains."""


@dataclasses.dataclass(frozen=True, slots=True)
class Cut:
    """A layout, and whether it leaves room for no further instance of the profiles asked for."""

    layout: geometry.Layout
    is_maximal: bool


@dataclasses.dataclass(frozen=True, slots=True)
class _Slot:
    """A placement with what it takes of a GPU."""

    placement: geometry.Placement
    shape: devices.Shape
    mask: int


def enumerate_cuts(
    model: devices.DeviceModel,
    profiles: Iterable[str] | None = None,
    busy: Sequence[geometry.Placement] = (),
) -> Iterator[Cut]:
    """Every legal layout but the empty one, each once: the busy instances and any more of the profiles.

    All profiles of the model where none are named. Raises geometry.UnknownProfileError, and
    geometry.NoLayoutError where the busy instances cannot exist together.
    """
    if reason := geometry.why_illegal(model, busy):
        raise geometry.NoLayoutError(f"{model.name}: {reason}")
    held = [_slot(geometry.profile_of(model, one.profile), one.start) for one in busy]
    names = [profile.name for profile in model.profiles] if profiles is None else list(profiles)
    wanted = {profile.name: profile for profile in (geometry.profile_of(model, name) for name in names)}
    slots = [_slot(profile, start) for profile in wanted.values() for start in profile.shape.starts]
    engines = model.family.media_engines if model.family else 0
    slots.sort(key=lambda slot: (slot.placement.start, slot.placement.profile))
    return _extend(held, _still_fitting(held, slots, engines), 0, engines)


def count(
    model: devices.DeviceModel,
    profiles: Iterable[str] | None = None,
    busy: Sequence[geometry.Placement] = (),
) -> Census:
    """The census of `enumerate_cuts`. Raises as it does."""
    cuts = list(enumerate_cuts(model, profiles, busy))
    multisets = {tuple(cut.layout.counts.items()) for cut in cuts}
    names = sorted({name for counts in multisets for name, _ in counts})
    return Census(
        layouts=len(cuts),
        maximal=sum(cut.is_maximal for cut in cuts),
        multisets=len(multisets),
        pareto=sum(not any(_plus(counts, name) in multisets for name in names) for counts in multisets),
    )


def _plus(counts: tuple[tuple[str, int], ...], name: str) -> tuple[tuple[str, int], ...]:
    """One more of a profile. Parts of legal layouts are legal, so any larger one contains such a one."""
    held = dict(counts)
    return tuple(sorted((held | {name: held.get(name, 0) + 1}).items()))


def _slot(profile: devices.Profile, start: int) -> _Slot:
    mask = ((1 << profile.shape.size) - 1) << start
    return _Slot(geometry.Placement(profile.name, start), profile.shape, mask)


def _extend(placed: list[_Slot], slots: list[_Slot], first: int, engines: int) -> Iterator[Cut]:
    """The layout as it is, then every one with a slot from `first` on; `slots` are those that still fit."""
    if placed:
        yield Cut(geometry.Layout.of(slot.placement for slot in placed), not slots)
    for slot in slots:
        if (slot.mask & -slot.mask) >= first:
            now = [*placed, slot]
            rest = _still_fitting(now, slots, engines)
            yield from _extend(now, rest, slot.mask & -slot.mask, engines)


def _still_fitting(placed: list[_Slot], slots: list[_Slot], engines: int) -> list[_Slot]:
    taken = 0
    for slot in placed:
        taken |= slot.mask
    left = engines - sum(slot.shape.media_engines for slot in placed)
    has_extension = any(slot.shape.takes_extension for slot in placed)
    numbers = collections.Counter(slot.shape.key for slot in placed)
    return [
        slot
        for slot in slots
        if not slot.mask & taken
        and slot.shape.media_engines <= left
        and not (has_extension and slot.shape.takes_extension)
        and numbers[slot.shape.key] < slot.shape.max_instances
    ]
