"""Values of the catalogue: placement families, device models and their MIG profiles."""

from __future__ import annotations

import dataclasses
import functools

GPU_RESOURCE = "nvidia.com/gpu"


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """One kind of GPU Instance in a family; sizes and starts in memory units."""

    key: str
    compute: int
    size: int
    starts: tuple[int, ...]
    max_instances: int
    gi_profile_id: int
    media_engines: int = 0
    takes_extension: bool = False
    """Whether it holds the media extension (+me, +me.all), of which a GPU has one."""


@dataclasses.dataclass(frozen=True, slots=True)
class Family:
    """GPUs that are cut in the same way."""

    name: str
    compute_slices: int
    memory_units: int
    media_engines: int
    shapes: tuple[Shape, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Profile:
    """A shape on one model. Memory and multiprocessors are what can be counted on under any driver."""

    name: str
    shape: Shape
    memory_mib: int
    multiprocessors: int
    other_names: tuple[str, ...] = ()
    is_estimate: bool = False
    """Whether a figure was derived from the whole GPU; the node's labels then know better."""


@dataclasses.dataclass(frozen=True)
class DeviceModel:
    """One model of accelerator; `family` is None where it cannot be cut into MIG slices."""

    name: str
    device_class: str
    groups: tuple[str, ...]
    architecture: str
    family: Family | None
    products: tuple[str, ...]
    pci_ids: tuple[str, ...]
    memory_mib: int
    multiprocessors: int
    power_limit_w: int
    resource: str
    profiles: tuple[Profile, ...]

    @property
    def is_mig_capable(self) -> bool:
        return self.family is not None

    @property
    def keeps_mig_mode_over_reboot(self) -> bool:
        """Ampere stores the mode in the board and needs a GPU reset to change it (MIG User Guide)."""
        return self.architecture == "Ampere"

    @functools.cached_property
    def profiles_by_name(self) -> dict[str, Profile]:
        """Every spelling of every profile; our own spelling wins where two models of driver disagree."""
        spellings = {other: profile for profile in self.profiles for other in profile.other_names}
        return spellings | {profile.name: profile for profile in self.profiles}
