"""The machines: nodes with their extended resources, and the pods that hold them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

from gpufleet.state import devices, names

PodPhase = Literal["Pending", "Running", "Succeeded", "Failed", "Unknown"]


@dataclasses.dataclass(frozen=True, slots=True)
class Taint:
    """A taint of a node."""

    key: str
    value: str = ""
    effect: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Toleration:
    """A taint that a pod accepts: with an empty key any, with an empty effect of any effect."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""

    def accepts(self, taint: Taint) -> bool:
        """https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/"""
        return (
            self.key in ("", taint.key)
            and (self.operator == "Exists" or (bool(self.key) and self.value == taint.value))
            and self.effect in ("", taint.effect)
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Requirement:
    """One expression on a node's labels, as nodeSelector and node affinity have them."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Constraints:
    """Where a pod without a node may go: any one of `terms` must hold (none: all nodes)."""

    terms: tuple[tuple[Requirement, ...], ...] = ()
    tolerations: tuple[Toleration, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """A node as the scheduler sees it; `allocatable` holds extended resources only."""

    name: str
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    allocatable: Mapping[str, int] = dataclasses.field(default_factory=dict)
    ready: bool = True
    unschedulable: bool = False
    uid: str = ""
    annotations: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Those that gpufleet writes on nodes."""
    taints: tuple[Taint, ...] = ()
    boot_id: str = ""
    devices: devices.DeviceMap | None = None
    """What the node agent has published; None where it has not, or nothing that can be read."""
    claimable: frozenset[str] = frozenset()
    """MIG profiles that a driver makes for ResourceClaims; nobody else may cut these GPUs then."""

    @property
    def is_fenced(self) -> bool:
        """Whether its GPUs are about to be cut anew."""
        return any(one.key == names.REPARTITION_TAINT for one in self.taints)

    @property
    def is_usable(self) -> bool:
        """Whether a new pod may be placed here."""
        return self.ready and not self.unschedulable and not self.is_fenced


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
    constraints: Constraints = Constraints()
    """Of a pod that has no node yet; others have none."""
    evictable: bool = False
    """Whether a controller makes it again elsewhere and nobody forbids to evict it."""

    @property
    def is_terminal(self) -> bool:
        """Whether all containers have ended for good, so that nothing is held any more."""
        return self.phase in ("Succeeded", "Failed")
