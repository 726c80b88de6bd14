"""What a node agent publishes of its node: GPUs, their MIG instances, and the pods that hold them."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Instance:
    """A GPU Instance at its first memory unit; `pod` is namespace/name/uid of its holder, or empty."""

    uuid: str
    profile: str
    start: int
    pod: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; `pod` holds it whole."""

    index: int
    uuid: str
    model: str = ""
    mig: bool = False
    instances: tuple[Instance, ...] = ()
    pod: str = ""

    @property
    def pods(self) -> tuple[str, ...]:
        """Holders of the GPU or of its instances."""
        return tuple(one for one in (self.pod, *(it.pod for it in self.instances)) if one)


@dataclasses.dataclass(frozen=True, slots=True)
class DeviceMap:
    """All GPUs of one node, as of one boot of it."""

    boot_id: str
    gpus: tuple[Gpu, ...] = ()
    token: str = ""
    """What the agent was asked with before it looked, if it was."""
