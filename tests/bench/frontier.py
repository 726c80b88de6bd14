"""Points of two costs, their Pareto frontier, and what one frontier saves against another."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence


@dataclasses.dataclass(frozen=True, order=True)
class Point:
    """What one setting gives; less is better of both."""

    violations: float
    hours: float
    name: str = ""
    target: float = 0.0

    def is_dominated_by(self, other: Point) -> bool:
        """The other is nowhere worse and somewhere better."""
        if self.violations < other.violations or self.hours < other.hours:
            return False
        return (self.violations, self.hours) != (other.violations, other.hours)


def find(points: Iterable[Point]) -> list[Point]:
    """Those that none dominates, by rising violations."""
    points = sorted(points)
    return [one for one in points if not any(one.is_dominated_by(other) for other in points)]


def hours_at(frontier: Sequence[Point], violations: float) -> float | None:
    """Hours that buy so few violations, interpolated between neighbours; None where none are so few."""
    if not frontier or violations < frontier[0].violations:
        return None
    below = [one for one in frontier if one.violations <= violations][-1]
    above = next((one for one in frontier if one.violations > violations), None)
    if above is None:
        return below.hours
    share = (violations - below.violations) / (above.violations - below.violations)
    return below.hours + share * (above.hours - below.hours)


def find_saving(ours: Sequence[Point], theirs: Sequence[Point], most: float, steps: int = 20) -> float | None:
    """Mean share of hours saved at equal violations: from the fewest that both reach up to `most`.

    At the fewest alone where those are more than `most`; None where one has no points.
    """
    if not ours or not theirs:
        return None
    fewest = max(ours[0].violations, theirs[0].violations)
    reach = max(0.0, most - fewest)
    levels = [fewest + reach * step / steps for step in range(steps + 1)]
    savings = []
    for level in levels:
        mine, other = hours_at(ours, level), hours_at(theirs, level)
        if mine is not None and other is not None:
            savings.append(1 - mine / other)
    return sum(savings) / len(savings)
