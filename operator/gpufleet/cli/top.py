"""`gpufleet top`: a live map of the fleet in the terminal."""

from __future__ import annotations

import dataclasses
import datetime
import shutil
import sys
import time

import click

from gpufleet.cli import about, door, fleetmap, picture, reach, screen, sources, tables, uses

_WIDTH = 120
"""Columns where nobody looks at a terminal."""


@dataclasses.dataclass
class View:
    """What is looked at, and how."""

    by: fleetmap.By
    level: fleetmap.Level | None

    def press(self, key: str) -> bool:
        """Whether to go on: n changes what colours mean, l how fine the map is, q ends it."""
        if key == "n":
            self.by = "use" if self.by == "namespace" else "namespace"
        elif key == "l":
            levels: tuple[fleetmap.Level | None, ...] = (None, *fleetmap.LEVELS)
            self.level = levels[(levels.index(self.level) + 1) % len(levels)]
        return key != "q"


@click.command()
@click.option(
    "--by",
    type=click.Choice(["use", "namespace"]),
    default="use",
    show_default=True,
    help="What colours and characters tell.",
)
@click.option("--level", type=click.Choice(fleetmap.LEVELS), help="Unset: the finest that fits.")
@click.option("--once", is_flag=True, help="Draw one picture and end; so it is also in a pipe.")
@click.option(
    "--interval", default=2.0, show_default=True, type=click.FloatRange(0.5), help="Between pictures, in s."
)
@about.operator_options
def top(
    by: fleetmap.By,
    level: fleetmap.Level | None,
    once: bool,
    interval: float,
    context: str | None,
    operator_namespace: str,
    server: str | None,
) -> None:
    """Draw the devices of the fleet, who holds them and what is free, again and again.

    Keys: q ends, n changes between use and namespaces, l between GPUs, nodes and racks.
    """
    view = View(by, level)
    with door.opened(context) as get:
        source = sources.Sources(get, operator_namespace, server)
        try:
            fleet = source.fleet()
        except reach.UnreachableError as error:
            raise click.ClickException(f"only the operator knows the whole fleet: {error}") from error
        if once or not sys.stdout.isatty():
            lines = draw(fleet, view, tables.width() or _WIDTH, None, _now())
            click.echo("\n".join(screen.render(one, coloured=tables.is_coloured()) for one in lines))
            return
        with screen.taken():
            _watch(source, fleet, view, interval)


def draw(
    fleet: picture.Fleet,
    view: View,
    width: int,
    height: int | None,
    now: datetime.datetime,
    trouble: str = "",
) -> list[fleetmap.Line]:
    """The whole picture: figures, map, legend."""
    nodes = uses.read(fleet)
    palette = fleetmap.Palette(uses.count_holders(nodes), view.by)
    head: list[fleetmap.Line] = [[(f"{now:%H:%M:%S}Z  ", ""), (fleetmap.describe(nodes), "bold")]]
    if trouble:
        head.append([(trouble[:width], "red")])
    legend = palette.legend(view.level or "gpus", width)
    # Between them stands an empty line, above and below the map.
    room = None if height is None else max(1, height - len(head) - len(legend) - 2)
    level, lines = fleetmap.draw(nodes, palette, width, room, view.level)
    return [*head, [], *lines, [], *palette.legend(level, width)]


def _watch(source: sources.Sources, fleet: picture.Fleet, view: View, interval_s: float) -> None:
    """Draws until q or Ctrl-C; where the operator does not answer, the last picture stays, and says so."""
    trouble, read_s, now = "", time.monotonic(), _now()
    coloured = tables.is_coloured()
    try:
        while True:
            size = shutil.get_terminal_size()
            screen.show(draw(fleet, view, size.columns, size.lines, now, trouble), coloured=coloured)
            if not view.press(screen.wait_for_key(max(0.05, interval_s - (time.monotonic() - read_s)))):
                return
            if time.monotonic() - read_s < interval_s:
                continue
            try:
                fleet, trouble, now = source.fleet(), "", _now()
            except reach.UnreachableError as error:
                trouble = f"As it was then; the operator does not answer: {error}"
            read_s = time.monotonic()
    except KeyboardInterrupt:
        return


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
