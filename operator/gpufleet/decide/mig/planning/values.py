"""What the planner takes and gives: GPUs as they are, demand that waits, changes with their cost."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping

from gpufleet.decide.mig import devices, geometry


class Grain(enum.StrEnum):
    """What the actuator can change at a time."""

    GPU = "GPU"
    """mig-manager: it clears each GPU that does not match, so every instance on it must be able to move."""
    INSTANCE = "Instance"
    """DRA: instances come and go one by one, each at a start of our choice."""


@dataclasses.dataclass(frozen=True, slots=True)
class Instance:
    """A GPU Instance. A busy one is held by a pod, of this weight; only a movable one may be destroyed."""

    placement: geometry.Placement
    busy: bool = False
    movable: bool = False
    weight: float = 1.0

    @property
    def is_pinned(self) -> bool:
        return self.busy and not self.movable


@dataclasses.dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU in MIG mode. Its instances are legal together and ordered by start."""

    node: str
    index: int
    model: devices.DeviceModel
    instances: tuple[Instance, ...] = ()
    grain: Grain = Grain.GPU

    @property
    def is_frozen(self) -> bool:
        """Whether the actuator may not touch it at all."""
        return self.grain is Grain.GPU and any(one.is_pinned for one in self.instances)


@dataclasses.dataclass(frozen=True, slots=True)
class Demand:
    """Slices that wait. `models` are the names of those that may serve them; None: all with the profile."""

    profile: str
    count: int
    weight: float = 1.0
    models: frozenset[str] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """What a change costs and what comes next.

    A change takes the slices of its GPU away for `blackout_s`; it has to win more weighted slice-seconds
    than that within `horizon_s`. `forecast` weighs the profiles that spare room is kept for; those that
    are asked for now where it is empty.
    """

    blackout_s: float = 0.0
    horizon_s: float = 3600.0
    forecast: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Recipe:
    """What happens to a GPU; the same for all that are alike. `created` is in an order that succeeds."""

    before: geometry.Layout
    after: geometry.Layout
    destroyed: tuple[geometry.Placement, ...]
    created: tuple[geometry.Placement, ...]
    moved: int
    """Busy instances among the destroyed."""
    cost: float
    """The blackout in units of demand: weighted slices × blackout ÷ horizon."""


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """A GPU that is to be cut anew, and why."""

    node: str
    index: int
    recipe: Recipe
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """How much of one demand has a slice when the plan is carried out."""

    demand: Demand
    served: int


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """GPUs that no change names stay as they are. Figures are of the fleet when all is carried out."""

    changes: tuple[Change, ...]
    outcomes: tuple[Outcome, ...]
    without: float
    """Weighted demand that idle slices serve as things are."""
    bound: float
    """No plan can serve more weighted demand than this, whatever it moves."""
    reason: str
    message: str

    @property
    def served(self) -> float:
        """Weighted."""
        return sum(one.served * one.demand.weight for one in self.outcomes)

    @property
    def wanted(self) -> float:
        """Weighted."""
        return sum(one.demand.count * one.demand.weight for one in self.outcomes)

    @property
    def moved(self) -> int:
        return sum(change.recipe.moved for change in self.changes)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Nodes that are disturbed, sorted."""
        return tuple(sorted({change.node for change in self.changes}))
