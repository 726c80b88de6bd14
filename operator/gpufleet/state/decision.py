"""Effects as data: what reconcile is to apply, report and remember. Executed once, in this order."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping
from typing import Any, Literal

from gpufleet.state import children


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes Event about the object; deduplicated by reason and message."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """What one object needs.

    `apply` are whole manifests under our field manager, in order; an owned child that is neither applied
    nor kept is deleted. `scale` gives another size to kept children whose manifest is not applied again.
    `status` is the whole status except `assignment`. `questions` are searches that a worker process is to
    answer.
    """

    status: Mapping[str, Any]
    apply: tuple[Mapping[str, Any], ...] = ()
    keep: frozenset[children.ChildRef] = frozenset()
    scale: Mapping[children.ChildRef, int] = dataclasses.field(default_factory=dict)
    events: tuple[Event, ...] = ()
    requeue_after_s: float | None = None
    questions: tuple[Hashable, ...] = ()
