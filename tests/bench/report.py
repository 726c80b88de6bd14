"""A benchmark's table: what was measured, beside the baseline of the same run and the goal."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Row:
    """One figure. `goal` is the most it may be; None shows the figure without judging it."""

    name: str
    measured: float
    unit: str
    goal: float | None = None
    baseline: float | None = None

    @property
    def holds(self) -> bool:
        return self.goal is None or self.measured <= self.goal


def render(title: str, rows: Sequence[Row]) -> str:
    """The table as text, one line a row."""
    lines = [title, f"{'':<52}{'measured':>10}{'baseline':>10}{'goal':>10}  holds"]
    for row in rows:
        baseline = "" if row.baseline is None else f"{row.baseline:.1f}"
        goal = "" if row.goal is None else f"≤ {row.goal:.1f}"
        verdict = "" if row.goal is None else ("yes" if row.holds else "NO")
        label = f"{row.name} [{row.unit}]"
        lines.append(f"{label:<52}{row.measured:>10.1f}{baseline:>10}{goal:>10}  {verdict}")
    return "\n".join(lines)


def finish(title: str, rows: Sequence[Row]) -> None:
    """Prints the table and exits: 0 where every goal holds, else 1."""
    print("\n" + render(title, rows), flush=True)
    sys.exit(0 if all(row.holds for row in rows) else 1)
