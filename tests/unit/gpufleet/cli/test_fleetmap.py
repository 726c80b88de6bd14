from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpufleet.cli import fleetmap, screen, uses
from gpufleet.cli.uses import Device, Unit


def node(name: str, *devices: Device, pool: str = "p", rack: str = "", usable: bool = True) -> uses.NodeUse:
    return uses._weigh(uses.NodeUse(name, pool, rack, usable, list(devices)))


def whole(*holders: str) -> list[Device]:
    return [Device([Unit(0, holder)]) for holder in holders]


def cut(*slices: tuple[int, str]) -> Device:
    return Device([Unit(*one) for one in slices], True)


def draw(
    *nodes: uses.NodeUse, by: Any = "use", level: Any = None, width: int = 60, height: int | None = None
) -> list[str]:
    palette = fleetmap.Palette(uses.count_holders(nodes), by)
    lines = fleetmap.draw(nodes, palette, width, height, level)[1]
    return [screen.render(one, coloured=False) for one in lines]


MIXED = node("node-a", *whole("team", ""), cut((3, "team"), (2, ""), (1, "other")))


def test_devices_and_slices_of_a_node() -> None:
    head, line = draw(MIXED)
    assert head == "p  1 node, 3 GPUs: 56 % held, 1 free"
    assert line == "node-a                   1.7/3 █ · [█2█]"


def test_namespaces_are_letters_the_largest_first() -> None:
    assert draw(MIXED, by="namespace")[1].endswith("A · [A2B]")


def test_what_takes_no_pod() -> None:
    head, line = draw(node("n", *whole("a", ""), cut((1, "")), usable=False))
    assert head.endswith("0 free, 2 out (1 node)")
    assert line.endswith("█ × [×]")


def test_a_long_row_goes_on_below() -> None:
    lines = draw(node("n", *(cut(*[(1, "")] * 7) for _ in range(8))), width=60)
    assert len(lines) == 1 + 3
    assert all(len(one) <= 60 for one in lines)


def test_nodes_show_the_share_held() -> None:
    nodes = [
        node("a", *whole(*[""] * 8)),
        node("b", *whole("x", *[""] * 7)),
        node("c", *whole(*["x"] * 8)),
        node("d", *whole(""), usable=False),
    ]
    assert draw(*nodes, level="nodes")[1] == "  ·▁█×"
    assert draw(*nodes, level="nodes", by="namespace")[1] == "  ·AA×"


def test_racks_stand_side_by_side() -> None:
    nodes = [node(f"{rack}{one}", *whole("x"), rack=rack) for rack in "ab" for one in range(3)]
    assert draw(*nodes, level="nodes")[1] == "  a ███   b ███"
    assert draw(*nodes, level="racks")[1] == "  ██"


@pytest.mark.parametrize(
    ("height", "level"),
    [
        pytest.param(None, "gpus", id="no height, few nodes"),
        pytest.param(40, "gpus", id="all fits"),
        pytest.param(10, "nodes", id="nodes fit"),
        pytest.param(2, "racks", id="racks fit"),
    ],
)
def test_the_finest_map_that_fits(height: int | None, level: str) -> None:
    nodes = [node(f"{number:02}", *whole("x"), rack=f"rack-{number // 2:06}") for number in range(30)]
    palette = fleetmap.Palette(uses.count_holders(nodes), "use")
    assert fleetmap.draw(nodes, palette, 40, height, None)[0] == level


def test_many_nodes_share_a_character() -> None:
    nodes = [node(f"{number:04}", *whole("x")) for number in range(900)]
    lines = draw(*nodes, width=32, height=4)
    assert len(lines) == 4
    assert set("".join(lines[1:]).strip()) <= {"█", " "}


def test_more_namespaces_than_letters() -> None:
    nodes = [node(f"{number:02}", *whole(f"ns-{number:02}")) for number in range(30)]
    palette = fleetmap.Palette(uses.count_holders(nodes), "namespace")
    legend = " ".join(screen.render(one, coloured=False) for one in palette.legend("nodes", 80))
    assert "A ns-00 1" in legend
    assert "+ others" in legend
    assert draw(*nodes, level="nodes", by="namespace")[1].endswith("XYZ++++")


def test_colours_are_runs() -> None:
    line: fleetmap.Line = [("a", "red"), ("b", "red"), ("c", "")]
    assert screen.render(line, coloured=True) == "\x1b[31mab\x1b[0mc"


DEVICES = st.one_of(
    st.sampled_from(["", "a", "b"]).map(lambda holder: Device([Unit(0, holder)])),
    st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["", "a"])), max_size=7).map(
        lambda found: cut(*found)
    ),
)
NODES = st.builds(
    lambda number, devices, pool, rack, usable: node(
        f"n{number}", *devices, pool=pool, rack=rack, usable=usable
    ),
    st.integers(0, 9999),
    st.lists(DEVICES, min_size=1, max_size=8),
    st.sampled_from(["p", "q"]),
    st.sampled_from(["", "r1", "a-rack-with-a-long-name"]),
    st.booleans(),
)


@settings(deadline=None)
@given(
    st.lists(NODES, max_size=40),
    st.sampled_from([None, *fleetmap.LEVELS]),
    st.integers(50, 200),
    st.integers(1, 50),
    st.sampled_from(["use", "namespace"]),
)
def test_a_map_keeps_within_its_height(
    nodes: list[uses.NodeUse], level: Any, width: int, height: int, by: Any
) -> None:
    ordered = sorted(nodes, key=lambda one: (one.pool, one.rack, one.name))
    lines = draw(*ordered, level=level, width=width, height=height, by=by)
    assert len(lines) <= height
    assert all(len(one) <= width for one in lines if " GPUs: " not in one)
