"""The fleet as a map of characters: devices of each node, nodes of each rack, or racks; pure.

Every character says by itself what it is, so that the map is read without colours.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from gpufleet.cli import uses

Level = Literal["gpus", "nodes", "racks"]
By = Literal["use", "namespace"]
Span = tuple[str, str]
"""(text, colour); an empty colour is the terminal's own."""
Line = list[Span]

LEVELS: tuple[Level, ...] = ("gpus", "nodes", "racks")
_EIGHTHS = "▁▂▃▄▅▆▇█"
_HELD, _FREE, _UNUSABLE = "█", "·", "×"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_OTHERS = "+"
_COLOURS = (
    "green", "cyan", "yellow", "magenta", "blue", "bright_green", "bright_cyan", "bright_yellow",
    "bright_magenta", "bright_blue",
)  # fmt: skip
_NAME_WIDTH = 28
_COUNT_WIDTH = 9


class Palette:
    """Letter and colour of each namespace, those that hold most first; the last letter is of all others."""

    def __init__(self, holders: Mapping[str, float], by: By) -> None:
        self.by = by
        ranked = sorted(holders, key=lambda one: (-holders[one], one))
        self.letters = dict(zip(ranked, _LETTERS, strict=False))
        self._colours = dict(zip(ranked, itertools.cycle(_COLOURS), strict=False))
        self._holders = holders

    def held(self, namespace: str, glyph: str = _HELD) -> Span:
        """A device, slice or node that this namespace holds."""
        if self.by == "use":
            return glyph, "green"
        return self.letters.get(namespace, _OTHERS), self._colours[namespace]

    def legend(self, level: Level, width: int) -> list[Line]:
        """What the characters mean, on lines of this width."""
        told: list[Line] = [[(_FREE, ""), (" free", "")], [(_UNUSABLE, "red"), (" out: takes no pod", "")]]
        if level == "gpus":
            told.append([("[1]", "cyan"), (" free MIG slice of 1g", "")])
        if self.by == "namespace":
            for namespace, letter in self.letters.items():
                used = f" {namespace} {self._holders[namespace]:.0f}"
                told.append([(letter, self._colours[namespace]), (used, "")])
            if len(self._holders) > len(self.letters):
                told.append([(_OTHERS, ""), (" others", "")])
        elif level == "gpus":
            told.insert(0, [(_HELD, "green"), (" held", "")])
        else:
            told.insert(0, [(_EIGHTHS, "green"), (" share held", "")])
        return list(_wrap(told, width, [("  ", "")]))


def draw(
    nodes: Sequence[uses.NodeUse], palette: Palette, width: int, height: int | None, level: Level | None
) -> tuple[Level, list[Line]]:
    """(the level that was drawn, lines): where none is asked, the finest one that fits.

    Racks that do not fit are drawn several to a character; lines beyond the height are left out and counted.
    """
    if level is None and height is None:
        level = "gpus" if len(nodes) <= 64 else "nodes"
    # A line a node at least: what cannot fit is not drawn to find out.
    finest = 1 if height is not None and len(nodes) > height else 0
    for one in (level,) if level else LEVELS[finest:]:
        lines = list(_draw_level(one, nodes, palette, width, height))
        if level or height is None or len(lines) <= height:
            break
    if height is not None and len(lines) > height:
        kept = max(0, height - 1)
        lines = [*lines[:kept], [(f"{len(lines) - kept} lines more", "yellow")]]
    return one, lines


def _draw_level(
    level: Level, nodes: Sequence[uses.NodeUse], palette: Palette, width: int, height: int | None
) -> Iterator[Line]:
    pools = [(name, list(group)) for name, group in itertools.groupby(nodes, lambda one: one.pool)]
    room = None if height is None else max(1, height // max(1, len(pools)) - 1)
    for name, group in pools:
        yield [(f"{_shorten(name or '(no pool)', width // 6)}  ", "bold"), (describe(group), "")]
        if level == "gpus":
            yield from _draw_devices(group, palette, width)
        elif level == "nodes":
            yield from _draw_nodes(group, palette, width)
        else:
            yield from _draw_racks(group, palette, width, room)


def describe(nodes: Sequence[uses.NodeUse]) -> str:
    """The figures of these nodes."""
    total, held = sum(one.total for one in nodes), sum(one.held for one in nodes)
    lost = sum(one.total - one.held for one in nodes if not one.usable)
    away = sum(not one.usable for one in nodes)
    free = total - held - lost
    told = f"{_count(len(nodes), 'node')}, {total:,.0f} GPUs: {_percent(held, total)} held, {free:,.0f} free"
    return f"{told}, {lost:,.0f} out ({_count(away, 'node')})" if away else told


def _draw_devices(nodes: Iterable[uses.NodeUse], palette: Palette, width: int) -> Iterator[Line]:
    name_width = min(_NAME_WIDTH, width // 3)
    for node in nodes:
        cells = [_draw_device(device, node.usable, palette) for device in node.devices]
        wrapped = list(_wrap(cells, width - name_width - _COUNT_WIDTH - 2, [(" ", "")]))
        for number, line in enumerate(wrapped):
            name = _shorten(node.name, name_width) if number == 0 else ""
            count = f"{_number(node.held)}/{_number(node.total)}" if number == 0 else ""
            yield [(f"{name:<{name_width}} {count:>{_COUNT_WIDTH}} ", ""), *line]


def _draw_device(device: uses.Device, usable: bool, palette: Palette) -> Line:
    if not device.cut:
        return [_draw_unit(device.units[0], usable, palette)]
    return [("[", ""), *(_draw_unit(one, usable, palette) for one in device.units), ("]", "")]


def _draw_unit(unit: uses.Unit, usable: bool, palette: Palette) -> Span:
    if unit.holder:
        return palette.held(unit.holder)
    if not usable:
        return _UNUSABLE, "red"
    return (str(unit.size), "cyan") if unit.size else (_FREE, "")


def _draw_nodes(nodes: Sequence[uses.NodeUse], palette: Palette, width: int) -> Iterator[Line]:
    """A character a node; racks side by side where there are any."""
    cells: list[Line] = []
    for rack, group in itertools.groupby(nodes, lambda one: one.rack):
        drawn = [_draw_share([one], palette) for one in group]
        if not rack:
            yield from _wrap(([one] for one in drawn), width - 2, [], indent="  ")
            continue
        cells.append([(f"{_shorten(rack, width // 3)} ", ""), *drawn])
    if cells:
        longest = max(sum(len(text) for text, _ in one) for one in cells)
        if longest <= width - 2:
            padded = [[*one, (" " * (longest - sum(len(text) for text, _ in one)), "")] for one in cells]
            yield from _wrap(padded, width - 2, [("   ", "")], indent="  ")
        else:
            for one in cells:
                yield from _wrap(([span] for span in one), width - 2, [], indent="  ")


def _draw_racks(
    nodes: Sequence[uses.NodeUse], palette: Palette, width: int, room: int | None
) -> Iterator[Line]:
    """A character a rack, or as many nodes as make the pool fit into `room` lines."""
    racks = [list(group) for _, group in itertools.groupby(nodes, lambda one: one.rack or one.name)]
    if room is not None:
        each = math.ceil(len(racks) / (room * max(1, width - 2)))
        racks = [list(itertools.chain(*racks[at : at + each])) for at in range(0, len(racks), each)]
    yield from _wrap(([_draw_share(one, palette)] for one in racks), width - 2, [], indent="  ")


def _draw_share(nodes: Sequence[uses.NodeUse], palette: Palette) -> Span:
    """How much of them is held, or who holds most; unusable where nothing is held and none takes a pod."""
    total, held = sum(one.total for one in nodes), sum(one.held for one in nodes)
    if held:
        holder = uses.largest(uses.count_holders(nodes))
        return palette.held(holder, _EIGHTHS[min(7, math.ceil(8 * held / total) - 1)])
    return (_FREE, "") if any(one.usable for one in nodes) else (_UNUSABLE, "red")


def _wrap(cells: Iterable[Line], width: int, gap: Line, indent: str = "") -> Iterator[Line]:
    """Cells on as many lines as they need; one that is wider than a line has its own."""
    line: Line = []
    used = 0
    for cell in cells:
        size = sum(len(text) for text, _ in cell)
        apart = sum(len(text) for text, _ in gap) if line else 0
        if line and used + apart + size > width:
            yield [(indent, ""), *line] if indent else line
            line, used, apart = [], 0, 0
        line += [*(gap if apart else ()), *cell]
        used += apart + size
    if line:
        yield [(indent, ""), *line] if indent else line


def _shorten(text: str, most: int) -> str:
    """Its end is what tells nodes apart."""
    return text if len(text) <= most else f"…{text[len(text) - most + 1 :]}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _number(gpus: float) -> str:
    return f"{gpus:.1f}".removesuffix(".0")


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "0 %"
