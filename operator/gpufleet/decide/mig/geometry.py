"""How one GPU can be cut: placements, their legality, complete layouts, and an order that always works.

A GPU Instance occupies consecutive memory units at one of its profile's legal starts. Overlap, the
maximum per profile and the single media extension decide everything: the compute cap follows (the
tests enumerate it). Counting slices is exact on an empty GPU only; once something is placed, only
placements tell whether an instance fits.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence

from gpufleet.decide.mig import catalogue, devices


class NoLayoutError(ValueError):
    """The wanted instances do not fit beside the existing ones; the message says what was asked of what."""


class UnknownProfileError(ValueError):
    """The model has no such profile."""


@dataclasses.dataclass(frozen=True, slots=True)
class Placement:
    """A GPU Instance: its profile's name and its first memory unit."""

    profile: str
    start: int


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """Placements on one GPU, by start."""

    placements: tuple[Placement, ...] = ()

    @classmethod
    def of(cls, placements: Iterable[Placement]) -> Layout:
        return cls(tuple(sorted(placements, key=_by_start)))

    @property
    def counts(self) -> dict[str, int]:
        """Instances per profile, as mig-parted's `mig-devices` writes a layout."""
        return dict(sorted(collections.Counter(placement.profile for placement in self.placements).items()))


def profile_of(model: devices.DeviceModel, name: str) -> devices.Profile:
    """The model's profile. Raises UnknownProfileError with the profiles that there are."""
    if found := catalogue.profile(model, name):
        return found
    known = ", ".join(profile.name for profile in model.profiles)
    reason = f"its profiles are {known}" if known else "it cannot be cut into MIG slices"
    raise UnknownProfileError(f"{model.name} has no MIG profile {name}: {reason}")


def why_illegal(model: devices.DeviceModel, placements: Iterable[Placement]) -> str | None:
    """Why these instances cannot exist together on one GPU, in one sentence; None if they can."""
    board = _Board(model)
    placed: list[Placement] = []
    for placement in placements:
        profile = profile_of(model, placement.profile)
        if placement.start not in profile.shape.starts:
            starts = ", ".join(map(str, profile.shape.starts))
            return f"{profile.name} may start at {starts}, not at {placement.start}"
        if not board.fits(profile.shape, placement.start):
            return f"{profile.name} at {placement.start} does not fit beside {describe(placed)}"
        board.add(profile.shape, placement.start)
        placed.append(placement)
    return None


def is_legal(model: devices.DeviceModel, placements: Iterable[Placement]) -> bool:
    """Whether these instances can exist together on one GPU."""
    return why_illegal(model, placements) is None


def legal_starts(
    model: devices.DeviceModel, occupied: Sequence[Placement], profile_name: str
) -> tuple[int, ...]:
    """Starts, ascending, where one more instance of the profile fits beside `occupied`."""
    return _Board(model, occupied).starts(profile_of(model, profile_name).shape)


def best_start(
    model: devices.DeviceModel,
    occupied: Sequence[Placement],
    profile_name: str,
    weights: Mapping[str, float] | None = None,
) -> int:
    """The legal start that leaves most placements of other instances possible, so that large ones survive.

    `weights` says how much a remaining placement of each profile counts, by default 1. Of equal starts
    it is the highest, as the driver chooses. Raises NoLayoutError where the profile does not fit.
    """
    starts = legal_starts(model, occupied, profile_name)
    if not starts:
        raise NoLayoutError(f"{profile_name} cannot be placed on {model.name} beside {describe(occupied)}")

    def options(start: int) -> float:
        board = _Board(model, (*occupied, Placement(profile_name, start)))
        return sum(
            (1.0 if weights is None else weights.get(profile.name, 0.0)) * len(board.starts(profile.shape))
            for profile in model.profiles
        )

    return max(starts, key=lambda start: (options(start), start))


def free_units(model: devices.DeviceModel, occupied: Iterable[Placement]) -> frozenset[int]:
    """Memory units that no instance holds."""
    units = model.family.memory_units if model.family else 0
    taken = occupied_mask(model, occupied)
    return frozenset(unit for unit in range(units) if not taken >> unit & 1)


def occupied_mask(model: devices.DeviceModel, placements: Iterable[Placement]) -> int:
    """Memory units held, as a bit mask: bit n is unit n."""
    mask = 0
    for placement in placements:
        mask |= _mask(profile_of(model, placement.profile).shape, placement.start)
    return mask


def describe(placements: Sequence[Placement]) -> str:
    """Placements as people read them: `3g.40gb at 4, 1g.10gb at 0`."""
    return ", ".join(f"{p.profile} at {p.start}" for p in placements) or "an empty GPU"


def is_count_feasible(model: devices.DeviceModel, wanted: Sequence[str]) -> bool:
    """Whether the wanted profiles fit on an *empty* GPU, by counting slices, units and maxima.

    Exact there, because every set within the sums has a legal placement (the tests enumerate all).
    Wrong beside existing instances: free units may lie where no legal start reaches them. Use
    `creation_order` with `occupied` for that question.
    """
    if model.family is None:
        return not wanted
    shapes = [profile_of(model, name).shape for name in wanted]
    counts = collections.Counter(shape.key for shape in shapes)
    return (
        sum(shape.compute for shape in shapes) <= model.family.compute_slices
        and sum(shape.size for shape in shapes) <= model.family.memory_units
        and all(counts[shape.key] <= shape.max_instances for shape in shapes)
        and sum(shape.takes_extension for shape in shapes) <= 1
        and sum(shape.media_engines for shape in shapes) <= model.family.media_engines
    )


def creation_order(
    model: devices.DeviceModel, wanted: Sequence[str], occupied: Sequence[Placement] = ()
) -> tuple[Placement, ...]:
    """Where to create the wanted profiles, in order: largest first, each at its highest legal start.

    On an empty GPU the first choice always holds; beside existing instances the search backs up.
    Raises NoLayoutError if they do not fit, UnknownProfileError for a profile the model lacks.
    """
    profiles = [profile_of(model, name) for name in largest_first(model, wanted)]
    found = _search(_Board(model, occupied), profiles)
    if found is None:
        asked = ", ".join(profile.name for profile in profiles)
        raise NoLayoutError(f"{asked} cannot be placed on {model.name} beside {describe(occupied)}")
    return tuple(found)


def largest_first(model: devices.DeviceModel, wanted: Iterable[str]) -> tuple[str, ...]:
    """The order in which the driver, left to choose the starts, creates them all on an empty GPU."""
    return tuple(
        profile.name for profile in sorted((profile_of(model, name) for name in wanted), key=_by_size)
    )


@functools.cache
def enumerate_layouts(model: devices.DeviceModel) -> tuple[Layout, ...]:
    """Every layout to which no further instance can be added, each once, in a fixed order."""
    return tuple(Layout(placed) for placed in _extend(model, ()) if _is_maximal(model, placed))


class _Board:
    """What instances leave of a GPU: memory units, media engines, the extension, further instances."""

    __slots__ = ("_engines", "_extensions", "_numbers", "_taken")

    def __init__(self, model: devices.DeviceModel, placed: Iterable[Placement] = ()) -> None:
        self._taken = 0
        self._engines = model.family.media_engines if model.family else 0
        self._extensions = 1 if model.family else 0
        self._numbers: dict[str, int] = {}
        for placement in placed:
            self.add(profile_of(model, placement.profile).shape, placement.start)

    def fits(self, shape: devices.Shape, start: int) -> bool:
        return not (
            self._taken & _mask(shape, start)
            or self._numbers.get(shape.key, 0) >= shape.max_instances
            or shape.media_engines > self._engines
            or (shape.takes_extension and not self._extensions)
        )

    def starts(self, shape: devices.Shape) -> tuple[int, ...]:
        return tuple(start for start in shape.starts if self.fits(shape, start))

    def add(self, shape: devices.Shape, start: int, sign: int = 1) -> None:
        """Place an instance, or with sign -1 take it away again."""
        mask = _mask(shape, start)
        self._taken = self._taken | mask if sign > 0 else self._taken & ~mask
        self._engines -= sign * shape.media_engines
        self._extensions -= sign * shape.takes_extension
        self._numbers[shape.key] = self._numbers.get(shape.key, 0) + sign


def _extend(model: devices.DeviceModel, placed: tuple[Placement, ...]) -> Iterator[tuple[Placement, ...]]:
    yield placed
    last = placed[-1].start if placed else -1
    board = _Board(model, placed)
    for profile in model.profiles:
        for start in profile.shape.starts:
            if start > last and board.fits(profile.shape, start):
                yield from _extend(model, (*placed, Placement(profile.name, start)))


def _is_maximal(model: devices.DeviceModel, placed: tuple[Placement, ...]) -> bool:
    board = _Board(model, placed)
    return not any(board.starts(profile.shape) for profile in model.profiles)


def _search(board: _Board, rest: list[devices.Profile]) -> list[Placement] | None:
    if not rest:
        return []
    profile, *others = rest
    for start in reversed(profile.shape.starts):
        if board.fits(profile.shape, start):
            board.add(profile.shape, start)
            tail = _search(board, others)
            board.add(profile.shape, start, -1)
            if tail is not None:
                return [Placement(profile.name, start), *tail]
    return None


def _mask(shape: devices.Shape, start: int) -> int:
    return ((1 << shape.size) - 1) << start


def _by_start(placement: Placement) -> tuple[int, str]:
    return (placement.start, placement.profile)


def _by_size(profile: devices.Profile) -> tuple[int, int, str]:
    return (-profile.shape.size, -profile.shape.compute, profile.name)
