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

    `moved_at` is when its step last changed, or since when it is asked; `first` and `first_at` are where its
    rate is taken from.
    """

    moved_at: datetime.datetime
    reported_at: datetime.datetime | None = None
    newest: Report | None = None
    first_at: datetime.datetime | None = None
    first: Report | None = None

    def take(self, report: Report, now: datetime.datetime) -> Progress:
        """With one more answer; a step that went back is a move too."""
        moved = self.newest is None or report.step != self.newest.step
        restarts = self.first is None or report.step < self.first.step
        return Progress(
            moved_at=now if moved else self.moved_at,
            reported_at=now,
            newest=report,
            first_at=now if restarts else self.first_at,
            first=report if restarts else self.first,
        )
