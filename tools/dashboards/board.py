"""What a board is made of. Queries read recording rules wherever they would go over the whole fleet."""

from __future__ import annotations

import dataclasses
from typing import Literal

Kind = Literal["lines", "stack", "number", "bars"]
WIDTH = 24
"""Columns of Grafana's grid."""


@dataclasses.dataclass(frozen=True)
class Query:
    """PromQL; `legend` may name labels in double braces."""

    expr: str
    legend: str


@dataclasses.dataclass(frozen=True)
class Panel:
    """A picture: `unit` is Grafana's, `meaning` stands behind the i of the panel.

    Lines and stacks show a range of time, a number and bars the last value.
    """

    title: str
    meaning: str
    unit: str
    queries: tuple[Query, ...]
    kind: Kind = "lines"
    width: int = 8
    top: float | None = None
    """Fixed end of the axis."""


@dataclasses.dataclass(frozen=True)
class Row:
    """Panels side by side under a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclasses.dataclass(frozen=True)
class Choice:
    """A menu of the values that a label has in a series; everything at first."""

    name: str
    series: str
    label: str


@dataclasses.dataclass(frozen=True)
class Text:
    """A field to type into."""

    name: str
    label: str
    default: str


@dataclasses.dataclass(frozen=True)
class Board:
    """One dashboard; its name is the file's and, with a prefix, its UID."""

    name: str
    title: str
    meaning: str
    rows: tuple[Row, ...]
    choices: tuple[Choice | Text, ...] = ()

    def panels(self) -> tuple[Panel, ...]:
        return tuple(panel for row in self.rows for panel in row.panels)

    def fill(self, expr: str) -> str:
        """A query as it is at first: everything chosen, every field at its default."""
        for one in sorted(self.choices, key=lambda one: -len(one.name)):
            expr = expr.replace(f"${one.name}", one.default if isinstance(one, Text) else ".*")
        return expr


def one(expr: str, legend: str) -> tuple[Query, ...]:
    return (Query(expr, legend),)


def by_profile(expr: str) -> str:
    """With the MIG profile of an extended resource as the label `profile`."""
    return f'label_replace({expr}, "profile", "$1", "resource", ".*/mig-(.*)")'
