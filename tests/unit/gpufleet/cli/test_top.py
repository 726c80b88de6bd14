from __future__ import annotations

import os
import pathlib
import pty
import select
import subprocess
import sys
import time
from typing import Any

import pytest

from gpufleet.cli import fleetmap, screen, top
from gpufleet.state import devices
from tests import builders
from tests.builders import NOW
from tests.unit.gpufleet.cli import wires

CUT = devices.Gpu(
    0, "g0", mig=True,
    instances=(devices.Instance("i", "3g.20gb", 0, "team/p/uid"), devices.Instance("j", "3g.20gb", 4)),
)  # fmt: skip
TAKEN = builders.make_snapshot(
    [
        builders.make_node("gpu-a", devices=devices.DeviceMap("b", (CUT, devices.Gpu(1, "g1")))),
        builders.make_node("gpu-b", {builders.GPU: 2}, ready=False),
    ],
    pools=[builders.make_pool()],
)


def draw(view: top.View, width: int = 80, height: int | None = None, trouble: str = "") -> list[str]:
    lines = top.draw(wires.read(TAKEN), view, width, height, NOW, trouble)
    return [screen.render(one, coloured=False) for one in lines]


def test_the_whole_picture_reads_without_colours() -> None:
    assert draw(top.View("use", None)) == [
        "12:00:00Z  2 nodes, 4 GPUs: 12 % held, 2 free, 2 out (1 node)",
        "",
        "a100  2 nodes, 4 GPUs: 12 % held, 2 free, 2 out (1 node)",
        "gpu-a                          0.5/2 [█3] ·",
        "gpu-b                            0/2 × ×",
        "",
        "█ held  · free  × out: takes no pod  [1] free MIG slice of 1g",
    ]


@pytest.mark.parametrize("height", range(4, 12))
def test_a_picture_fits_the_screen(height: int) -> None:
    assert len(draw(top.View("use", None), 40, height, "trouble")) <= max(height, 7)


def test_trouble_stands_above_the_map() -> None:
    assert draw(top.View("use", None), trouble="it does not answer")[1] == "it does not answer"


@pytest.mark.parametrize(
    ("key", "by", "level", "goes_on"),
    [
        pytest.param("n", "namespace", None, True, id="namespaces"),
        pytest.param("l", "use", "gpus", True, id="another level"),
        pytest.param("q", "use", None, False, id="the end"),
        pytest.param("", "use", None, True, id="no key"),
    ],
)
def test_keys(key: str, by: str, level: Any, goes_on: bool) -> None:
    view = top.View("use", None)
    assert (view.press(key), view.by, view.level) == (goes_on, by, level)


def test_levels_come_round() -> None:
    view = top.View("use", None)
    seen = [view.press("l") and view.level for _ in range(4)]
    assert seen == [*fleetmap.LEVELS, None]


# A read API of one snapshot, drawn on a terminal of its own.
_LIVE = """
import fcntl, pathlib, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from gpufleet.cli import screen, sources, top
body = pathlib.Path(sys.argv[1]).read_bytes()
source = sources.Sources(lambda url: (200, body))
with screen.taken():
    top._watch(source, source.fleet(), top.View("use", None), 0.5)
"""


@pytest.mark.parametrize("key", [b"q", b"\x03"], ids=["q", "Ctrl-C"])
def test_a_terminal_is_given_back(key: bytes, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "snapshot.json"
    path.write_bytes(wires.encode(TAKEN))
    terminal, its_end = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    argv = [sys.executable, "-c", _LIVE, str(path)]
    live = subprocess.Popen(argv, stdin=its_end, stdout=its_end, env=env, start_new_session=True)
    os.close(its_end)
    try:
        shown = read_until(terminal, b"gpu-b")
        os.write(terminal, key)
        shown += read_until(terminal, b"\x1b[?1049l")
        assert live.wait(60) == 0
    finally:
        live.kill()
        live.wait()
        os.close(terminal)
    assert shown.startswith(b"\x1b[?1049h")
    assert shown.rstrip().endswith(b"\x1b[?25h\x1b[?1049l")


def read_until(terminal: int, wanted: bytes, timeout_s: float = 60.0) -> bytes:
    deadline_s, shown = time.monotonic() + timeout_s, b""
    while wanted not in shown:
        assert select.select([terminal], [], [], max(0.0, deadline_s - time.monotonic()))[0], shown
        shown += os.read(terminal, 65536)
    return shown


def test_the_modules_of_commands_are_light() -> None:
    """Each of these takes longer to load than kubectl needs for a whole answer."""
    heavy = ("kubernetes", "pydantic", "kopf", "grpc", "rich", "aiohttp", "numpy")
    modules = "gpufleet.cli.main, gpufleet.cli.status, gpufleet.cli.top"
    code = f"import sys, {modules}; print(sorted(set({heavy}) & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"
