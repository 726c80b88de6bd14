"""GPUs drawn as rows of memory units, each instance a box over those that it holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from gpufleet.decide.mig import devices, geometry


@dataclasses.dataclass(frozen=True, slots=True)
class Ruler:
    """How wide a memory unit is drawn, so that every name fits into its box."""

    model: devices.DeviceModel
    width: int

    @classmethod
    def of(cls, model: devices.DeviceModel, profiles: Iterable[str]) -> Ruler:
        """A ruler for instances of these profiles. Raises geometry.UnknownProfileError."""
        known = [geometry.profile_of(model, name) for name in profiles]
        return cls(model, max((-(-(len(one.name) + 1) // one.shape.size) for one in known), default=4))

    @property
    def units(self) -> int:
        return self.model.family.memory_units if self.model.family else 0

    def head(self) -> str:
        """The numbers of the units, as `start` counts them."""
        return "".join(f" {unit}".ljust(self.width) for unit in range(self.units)).rstrip()

    def draw(self, placements: Iterable[geometry.Placement]) -> str:
        """One GPU on one line; free units are dots."""
        line = ["│" if unit % self.width == 0 else "·" for unit in range(self.units * self.width)]
        for one in placements:
            profile = geometry.profile_of(self.model, one.profile)
            size = profile.shape.size * self.width
            line[one.start * self.width : one.start * self.width + size] = f"│{profile.name}".ljust(size)
        return "".join(line) + "│"
