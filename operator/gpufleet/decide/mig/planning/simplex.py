"""A linear program that grows by columns: maximise c·x, A·x ≤ b, x ≥ 0, with b ≥ 0.

A dense tableau with the slack columns kept, which are the inverse of the basis: a new column is priced into
it and the optimum is found again from the last one (Chvátal, "Linear Programming", 1983, ch. 7 and 26).
"""

from __future__ import annotations

from collections.abc import Sequence

_EPSILON = 1e-9
_STALLED = 30
"""Pivots without progress after which Bland's rule takes over, which cannot cycle."""
_MOST_PIVOTS = 5_000


class Program:
    """The program and its present basis; optimal after `solve`."""

    def __init__(self, limits: Sequence[float]) -> None:
        rows = len(limits)
        self._rows = [[float(row == column) for column in range(rows)] for row in range(rows)]
        self._right = [float(limit) for limit in limits]
        self._basis = list(range(rows))
        self._costs = [0.0] * rows
        self._reduced = [0.0] * rows
        self._slacks = rows
        self.value = 0.0

    def add(self, gain: float, column: Sequence[float]) -> int:
        """Add a variable; its number, counted from 0."""
        used = [(row, entry) for row, entry in enumerate(column) if entry]
        for line in self._rows:
            line.append(sum(line[row] * entry for row, entry in used))
        self._costs.append(gain)
        prices = self.prices()
        self._reduced.append(gain - sum(prices[row] * entry for row, entry in used))
        return len(self._costs) - 1 - self._slacks

    def prices(self) -> list[float]:
        """What one more unit of each limit is worth."""
        return [max(0.0, -one) for one in self._reduced[: self._slacks]]

    def solution(self) -> dict[int, float]:
        """Variables that are not zero."""
        return {
            column - self._slacks: self._right[row]
            for row, column in enumerate(self._basis)
            if column >= self._slacks and self._right[row] > _EPSILON
        }

    def solve(self) -> None:
        """Pivot to the optimum from where it stands."""
        stalled = 0
        for _ in range(_MOST_PIVOTS):
            column = self._entering(stalled > _STALLED)
            if column is None or (row := self._leaving(column)) is None:
                return
            before = self.value
            self._pivot(row, column)
            stalled = 0 if self.value > before + _EPSILON else stalled + 1

    def _entering(self, by_number: bool) -> int | None:
        candidates = [column for column, gain in enumerate(self._reduced) if gain > _EPSILON]
        if not candidates:
            return None
        return candidates[0] if by_number else max(candidates, key=lambda column: self._reduced[column])

    def _leaving(self, column: int) -> int | None:
        ratios = [
            (self._right[row] / line[column], self._basis[row], row)
            for row, line in enumerate(self._rows)
            if line[column] > _EPSILON
        ]
        return min(ratios)[2] if ratios else None

    def _pivot(self, row: int, column: int) -> None:
        pivot = self._rows[row][column]
        line = [entry / pivot for entry in self._rows[row]]
        right = self._right[row] / pivot
        self._rows[row], self._right[row], self._basis[row] = line, right, column
        used = [(place, entry) for place, entry in enumerate(line) if entry]
        for other, entries in enumerate(self._rows):
            if other != row and (factor := entries[column]):
                for place, entry in used:
                    entries[place] -= factor * entry
                entries[column] = 0.0
                self._right[other] = max(0.0, self._right[other] - factor * right)
        gain = self._reduced[column]
        for place, entry in used:
            self._reduced[place] -= gain * entry
        self._reduced[column] = 0.0
        self.value += gain * right
