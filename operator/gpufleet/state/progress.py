"""How far a training job is, as its worker 0 told the operator."""

from __future__ import annotations

import dataclasses
import datetime


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """One answer: steps done, steps in all, and the newest checkpoint, as far as the job tells them."""

    step: int
    total_steps: int | None = None
    checkpoint_step: int | None = None
    checkpoint_at: datetime.datetime | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """What is known of one pod; `newest` is None while it has not answered.

    Seconds are those of the monotonic clock, so that a wall clock that jumps makes no stall.
    `moved_s` is when its step was new; while it has not answered, when it was asked first.
    """

    asked_s: float
    moved_s: float
    reported_at: datetime.datetime | None = None
    newest: Report | None = None
    first_s: float = 0.0
    first: Report | None = None

    @property
    def still_s(self) -> float:
        """How long it has not moved."""
        return self.asked_s - self.moved_s

    def take(self, report: Report | None, now: datetime.datetime, now_s: float) -> Progress:
        """With one more answer or silence; a step that went back is a move too."""
        if report is None:
            return dataclasses.replace(self, asked_s=now_s)
        moved = self.newest is None or report.step != self.newest.step
        restarts = self.first is None or report.step < self.first.step
        return Progress(
            asked_s=now_s,
            moved_s=now_s if moved else self.moved_s,
            reported_at=now,
            newest=report,
            first_s=now_s if restarts else self.first_s,
            first=report if restarts else self.first,
        )
