"""One simulated GPU: it does what the driver does and refuses what the hardware refuses."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Collection

from gpufleet.decide.mig import devices, geometry


class DeviceError(Exception):
    """The hardware's refusal, with NVML's name for it in `code`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


IN_USE = "ERROR_IN_USE"
INSUFFICIENT_RESOURCES = "ERROR_INSUFFICIENT_RESOURCES"
NOT_SUPPORTED = "ERROR_NOT_SUPPORTED"
NOT_FOUND = "ERROR_NOT_FOUND"


def new_mig_uuid() -> str:
    """UUID of a MIG device: another one at every creation, as from the driver."""
    return f"MIG-{uuid.uuid4()}"


@dataclasses.dataclass(frozen=True, slots=True)
class Instance:
    """A GPU Instance with its one Compute Instance; `gi_id` is unique on the GPU and used again later."""

    gi_id: int
    placement: geometry.Placement
    uuid: str

    @property
    def profile(self) -> str:
        return self.placement.profile


@dataclasses.dataclass(slots=True)
class Gpu:
    """A GPU. `busy` holds UUIDs (its own, or of its instances) that containers have open."""

    model: devices.DeviceModel
    product: str
    index: int
    uuid: str
    mig_enabled: bool = False
    instances: list[Instance] = dataclasses.field(default_factory=list)
    busy: frozenset[str] = frozenset()
    make_uuid: Callable[[], str] = new_mig_uuid

    @property
    def layout(self) -> geometry.Layout:
        return geometry.Layout.of(self.placements)

    @property
    def placements(self) -> tuple[geometry.Placement, ...]:
        return tuple(instance.placement for instance in self.instances)

    @property
    def is_busy(self) -> bool:
        return bool(self.busy & {self.uuid, *(instance.uuid for instance in self.instances)})

    def set_busy(self, held: Collection[str]) -> None:
        """Tell the GPU which of its devices containers hold now; other UUIDs are ignored."""
        own = {self.uuid, *(instance.uuid for instance in self.instances)}
        self.busy = frozenset(own.intersection(held))

    def set_mig_mode(self, enabled: bool) -> None:
        """Turn MIG on or off. Raises DeviceError unless idle, without instances and MIG-capable."""
        if enabled == self.mig_enabled:
            return
        if not self.model.is_mig_capable:
            raise DeviceError(NOT_SUPPORTED, f"GPU {self.index}: {self.model.name} has no MIG")
        self.require_idle("change of MIG mode")
        if self.instances:
            raise DeviceError(IN_USE, f"GPU {self.index}: destroy {len(self.instances)} instances first")
        self.mig_enabled = enabled

    def create_instance(self, profile: str, start: int | None = None) -> Instance:
        """Create a GPU Instance, at `start` or where the driver chooses. Raises DeviceError.

        The driver takes the highest legal start and looks no further ahead: so the order
        1g, 1g, 2g, 3g fails where its reverse succeeds, as the MIG User Guide documents.
        """
        starts = self._legal_starts(profile)
        if not starts or (start is not None and start not in starts):
            where = "" if start is None else f" at {start}"
            beside = geometry.describe(self.placements)
            raise DeviceError(
                INSUFFICIENT_RESOURCES, f"GPU {self.index}: no place for {profile}{where} beside {beside}"
            )
        return self._add(profile, starts[-1] if start is None else start)

    def destroy_instance(self, instance_uuid: str) -> None:
        """Destroy a GPU Instance. Raises DeviceError if it is in use or unknown."""
        found = next((instance for instance in self.instances if instance.uuid == instance_uuid), None)
        if found is None:
            raise DeviceError(NOT_FOUND, f"GPU {self.index}: no instance {instance_uuid}")
        if instance_uuid in self.busy:
            raise DeviceError(IN_USE, f"GPU {self.index}: {found.profile} ({instance_uuid}) is held by a pod")
        self.instances.remove(found)

    def clear(self) -> None:
        """Destroy instances one after the other. Raises DeviceError at a busy one, with earlier ones gone."""
        for instance in list(self.instances):
            self.destroy_instance(instance.uuid)

    def reset(self) -> None:
        """Reset the GPU, which loses all instances. Raises DeviceError while anything is in use."""
        self.require_idle("reset")
        self.instances.clear()

    def require_idle(self, act: str) -> None:
        """Raises DeviceError while a container holds the GPU or one of its instances."""
        if self.is_busy:
            raise DeviceError(
                IN_USE, f"GPU {self.index}: {act} while a pod holds {', '.join(sorted(self.busy))}"
            )

    def _legal_starts(self, profile: str) -> tuple[int, ...]:
        if not self.mig_enabled:
            raise DeviceError(NOT_SUPPORTED, f"GPU {self.index}: MIG mode is off")
        try:
            return geometry.legal_starts(self.model, self.placements, profile)
        except geometry.UnknownProfileError as error:
            raise DeviceError(NOT_SUPPORTED, f"GPU {self.index}: {error}") from error

    def _add(self, profile: str, start: int) -> Instance:
        known = geometry.profile_of(self.model, profile)
        placement = geometry.Placement(known.name, start)
        instance = Instance(_gi_id(self.model, known.shape, start), placement, self.make_uuid())
        self.instances.append(instance)
        return instance


def _gi_id(model: devices.DeviceModel, shape: devices.Shape, start: int) -> int:
    """Ids as the driver numbers them: 0 for the whole GPU, then halves 1–2, quarters 3–6, eighths 7–13."""
    units = model.family.memory_units if model.family else shape.size
    return units // shape.size - 1 + start // shape.size
