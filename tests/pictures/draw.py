"""Draws every board once, by Grafana's own panel components in headless Chromium: `make pictures`.

Needs npm and chromium. Queries, units, axes and layout are seen as they are; menus and provisioning are not.
"""

from __future__ import annotations

import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
from typing import Any

import yaml

from gpufleet_sandbox import binaries, instance
from tests.integration.prometheus import alerting, moving, servers, test_dashboards
from tools import dashboards
from tools.dashboards import board as boards

HERE = pathlib.Path(__file__).parent
PICTURES = HERE.parents[1] / "docs" / "dashboards"
WARM_S, SHOWN_S, STEP_S = 310, 120, 2
"""Rates go over five minutes; only then do they show what is."""
PANEL_PX, HEADING_PX, FRAME_PX, WIDTH_PX = 278, 40, 60, 1312
PAGE = """<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="view.css">
<body style="margin:0"><div id="root"></div><script>window.BOARD=%s</script><script src="view.js"></script>
"""
LOADERS = ("svg", "png", "ttf", "woff", "woff2")


def main() -> None:
    viewer = build_viewer(instance.cache_root() / "pictures")
    PICTURES.mkdir(exist_ok=True)
    for board, told in record():
        page = viewer / f"{board.name}.html"
        page.write_text(PAGE % json.dumps(told))
        shoot(page, PICTURES / f"{board.name}.png", measure_height(board))
        print(f"docs/dashboards/{board.name}.png", flush=True)


def build_viewer(folder: pathlib.Path) -> pathlib.Path:
    """The folder with view.js and view.css, made of what npm has."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "view.jsx"):
        shutil.copy(HERE / name, folder / name)
    run(["npm", "install", "--silent", "--no-audit", "--legacy-peer-deps"], folder)
    loaders = [f"--loader:.{name}=dataurl" for name in LOADERS]
    defines = ['--define:process.env.NODE_ENV="production"', "--define:global=globalThis"]
    bundle = ["npx", "esbuild", "view.jsx", "--bundle", "--minify", "--outfile=view.js"]
    run([*bundle, *loaders, *defines], folder)
    return folder


def shoot(page: pathlib.Path, picture: pathlib.Path, height_px: int) -> None:
    run(
        [
            "chromium",
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--virtual-time-budget=15000",
            f"--window-size={WIDTH_PX},{height_px}",
            f"--screenshot={picture}",
            page.as_uri(),
        ],
        page.parent,
    )


def run(argv: list[str], folder: pathlib.Path) -> None:
    """Raises subprocess.CalledProcessError with what the program said."""
    subprocess.run(argv, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=600)


def measure_height(board: boards.Board) -> int:
    """Pixels, with chromium's own frame around the page."""
    lines = sum(-(-sum(panel.width for panel in row.panels) // boards.WIDTH) for row in board.rows)
    return FRAME_PX + lines * PANEL_PX + len(board.rows) * HEADING_PX


def record() -> list[tuple[boards.Board, dict[str, Any]]]:
    """What each board shows of the moving fleet after WARM_S."""
    pages = moving.build_pages()
    rules = yaml.safe_dump({"groups": alerting.load_groups()})
    targets = [{"page": name, **labels} for name, (_, labels) in pages.items()]
    with (
        tempfile.TemporaryDirectory() as folder,
        servers.Exporter({name: page for name, (page, _) in pages.items()}).serve() as exporter,
        servers.run(
            pathlib.Path(binaries.ensure("prometheus-3")),
            [servers.build_job("pods", exporter, targets)],
            rules,
            pathlib.Path(folder),
        ) as url,
    ):
        time.sleep(WARM_S + SHOWN_S)
        end_s = time.time()
        return [(board, read_board(url, board, end_s)) for board in dashboards.BOARDS]


def read_board(url: str, board: boards.Board, end_s: float) -> dict[str, Any]:
    rows = [
        {"title": row.title, "panels": [read_panel(url, board, panel, end_s) for panel in row.panels]}
        for row in board.rows
    ]
    return {"title": board.title, "from": 1000 * (end_s - SHOWN_S), "to": 1000 * end_s, "rows": rows}


def read_panel(url: str, board: boards.Board, panel: boards.Panel, end_s: float) -> dict[str, Any]:
    frames = []
    for query in panel.queries:
        expr = board.fill(query.expr)
        if panel.kind == "bars":
            found = [
                {**one, "values": [one["value"]]}
                for one in test_dashboards.ask(url, "query", query=expr, time=end_s)
            ]
        else:
            start_s = end_s - SHOWN_S
            found = test_dashboards.ask(url, "query_range", query=expr, start=start_s, end=end_s, step=STEP_S)
        for one in found:
            labels = one["metric"]
            name = re.sub(r"{{(\w+)}}", lambda match, of=labels: of.get(match[1], ""), query.legend)
            times, values = zip(*one["values"], strict=True)
            frames.append(
                {"name": name, "times": [1000 * at for at in times], "values": [*map(float, values)]}
            )
    shown = {"title": panel.title, "unit": panel.unit, "kind": panel.kind, "width": panel.width}
    return {**shown, "top": panel.top, "frames": frames}


if __name__ == "__main__":
    main()
