"""A terminal that is drawn anew again and again, and given back as it was."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import shutil
import sys
from collections.abc import Iterable, Iterator

import click

from gpufleet.cli.fleetmap import Line

_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _TO_LINE_END, _TO_SCREEN_END = "\x1b[H", "\x1b[K", "\x1b[J"


def render(line: Line, *, coloured: bool) -> str:
    """Neighbours of one colour get one escape sequence."""
    if not coloured:
        return "".join(text for text, _ in line).rstrip()
    parts = []
    for colour, spans in itertools.groupby(line, lambda one: one[1]):
        text = "".join(text for text, _ in spans)
        if colour == "bold":
            text = click.style(text, bold=True)
        elif colour:
            text = click.style(text, fg=colour)
        parts.append(text)
    return "".join(parts)


@contextlib.contextmanager
def taken() -> Iterator[None]:
    """The other screen and single keys, until the body ends, however it does."""
    import termios
    import tty

    keyboard = sys.stdin.fileno() if sys.stdin.isatty() else None
    before = termios.tcgetattr(keyboard) if keyboard is not None else None
    try:
        if keyboard is not None:
            tty.setcbreak(keyboard)
        sys.stdout.write(_ENTER)
        sys.stdout.flush()
        yield
    finally:
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()
        if keyboard is not None and before is not None:
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def show(lines: Iterable[Line], *, coloured: bool) -> None:
    """In one write, so that nothing flickers."""
    text = "\r\n".join(render(line, coloured=coloured) + _TO_LINE_END for line in lines)
    sys.stdout.write(_HOME + text + _TO_SCREEN_END)
    sys.stdout.flush()


def wait_for_key(timeout_s: float) -> str:
    """The key that was pressed; empty after `timeout_s`, or at once where the terminal is of another size."""
    size, step_s = shutil.get_terminal_size(), 0.25
    keyboards = [sys.stdin] if sys.stdin.isatty() else []
    while timeout_s > 0:
        if select.select(keyboards, [], [], min(step_s, timeout_s))[0]:
            return os.read(sys.stdin.fileno(), 16).decode(errors="replace")
        if shutil.get_terminal_size() != size:
            break
        timeout_s -= step_s
    return ""
