"""Columns as kubectl writes them, and colours only where somebody looks at a terminal."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence

import click

_GAP = "   "


def is_coloured() -> bool:
    """Whether standard output is a terminal whose user has not refused colours (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width() -> int | None:
    """Columns of the terminal; None where nobody looks, and nothing has to fit."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def paint(text: str, colour: str, *, coloured: bool) -> str:
    return click.style(text, fg=colour) if coloured else text


def columns(head: Sequence[str], rows: Sequence[Sequence[str]], most: int | None = None) -> Iterator[str]:
    """Lines with aligned columns; those beyond `most` characters lose their end."""
    sizes = [max(len(one) for one in column) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        line = _GAP.join(cell.ljust(size) for cell, size in zip(row, sizes, strict=True)).rstrip()
        yield line if most is None or len(line) <= most else f"{line[: most - 1]}…"
