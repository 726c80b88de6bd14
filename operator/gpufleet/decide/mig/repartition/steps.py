"""Values of the state machine: what it takes beside the node, and what it answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

from gpufleet.decide.mig.repartition import facts as reading
from gpufleet.state import fleet, mig

Kind = Literal["Begin", "Note", "Evict", "Label", "RollBack", "HandOver", "GiveBack", "Finish", "Repair"]
IDLE = "Idle"


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """How long what may take. A kubelet shows a mounted ConfigMap within `config_settle_s`."""

    settle_s: float = 5.0
    config_settle_s: float = 90.0
    grace_s: float = 15.0
    """A state that was said before a label is not an answer to it."""
    confirm_s: float = 15.0
    """How long all has to agree. A node agent is late by less, and so is the answer to an older label."""
    apply_s: float = 900.0
    hold_s: float = 600.0
    longest_hold_s: float = 14_400.0


@dataclasses.dataclass(frozen=True, slots=True)
class Context:
    """What a node's next step depends on beside the node.

    `target` is the layout that the pool wants here now, None where it wants none. `against` is why nothing
    may begin. `published` are the configurations that mig-manager's ConfigMap has. A change that is not
    `needed` any more is given up while it is only fenced.
    """

    pool: str = ""
    target: mig.Layout | None = None
    against: reading.Trouble | None = None
    published: frozenset[str] = frozenset()
    needed: bool = True
    drains: bool = False
    drain_timeout_s: float = 1800.0
    limits: Limits = Limits()
    namespace: str = "gpu-operator"


@dataclasses.dataclass(frozen=True, slots=True)
class Patch:
    """One write to the Node; None removes a key. `fence` sets or removes our taint."""

    annotations: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    labels: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    fence: bool | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """What is to be done now: one patch, or pods that are asked to go."""

    kind: Kind
    patch: Patch = Patch()
    evict: tuple[fleet.Pod, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """Where the node is, why, and what is to be done; seconds until time alone changes that."""

    phase: str
    reason: str
    message: str
    step: Step | None = None
    again_s: float | None = None
