"""The queue of gangs as the last pass has seen it: what moves too often for status."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A gang that waits; `eta_s` is in how many seconds it may start, None where nobody can tell."""

    namespace: str
    name: str
    position: int
    reason: str
    message: str
    eta_s: float | None = None
    basis: str = ""
    would_end: tuple[str, ...] = ()
    """Less urgent gangs that would give way, were preemption Active."""
