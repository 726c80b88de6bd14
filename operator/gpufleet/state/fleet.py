"""The machines: nodes with their extended resources, and the pods that hold them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

from gpufleet.state import devices

PodPhase = Literal["Pending", "Running", "Succeeded", "Failed", "Unknown"]


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """A node as the scheduler sees it; `allocatable` holds extended resources only."""

    name: str
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    allocatable: Mapping[str, int] = dataclasses.field(default_factory=dict)
    ready: bool = True
    unschedulable: bool = False
    devices: devices.DeviceMap | None = None
    """What the node agent has published; None where it has not, or nothing that can be read."""

    @property
    def is_usable(self) -> bool:
        """Whether a new pod may be placed here."""
        return self.ready and not self.unschedulable


@dataclasses.dataclass(frozen=True, slots=True)
class Priority:
    """A PriorityClass; the default one counts where a pod names none."""

    name: str
    value: int
    is_default: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class ContainerState:
    """Why a container is not simply running: the waiting or terminated reason, with its message."""

    name: str
    waiting_reason: str = ""
    terminated_reason: str = ""
    exit_code: int | None = None
    message: str = ""
    restarts: int = 0
    finished_at: str = ""
    """When it ended, as the kubelet wrote it."""


DELETED = "Deleted"


@dataclasses.dataclass(frozen=True, slots=True)
class Interruption:
    """A pod was told to end before its containers had: the reason of DisruptionTarget, else DELETED.

    Such a pod has not done its work, whatever its exit code says.
    """

    reason: str
    at: str


@dataclasses.dataclass(frozen=True, slots=True)
class Pod:
    """A pod of ours, or any pod that holds extended resources."""

    uid: str
    namespace: str
    name: str
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    node: str = ""
    ip: str = ""
    phase: PodPhase = "Pending"
    ready: bool = False
    deleting: bool = False
    requests: Mapping[str, int] = dataclasses.field(default_factory=dict)
    owner_uid: str = ""
    unschedulable_message: str = ""
    mount_message: str = ""
    containers: tuple[ContainerState, ...] = ()
    created_s: float | None = None
    """Seconds since the epoch, by the API server's clock."""
    ready_s: float | None = None
    """When it became Ready the last time, by its node's clock; None while it is not."""
    reason: str = ""
    """The kubelet's word about the whole pod, such as Evicted."""
    message: str = ""
    started_at: str = ""
    """When the kubelet took it up, before it pulled images."""
    interrupted: Interruption | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether all containers have ended for good, so that nothing is held any more."""
        return self.phase in ("Succeeded", "Failed")
