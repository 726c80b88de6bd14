"""Write the JSON of Grafana's boards into the chart: `python -m tools.generate_dashboards`.

With --check, write nothing and fail on any difference.
"""

from __future__ import annotations

import pathlib
import sys

from tools import dashboards
from tools.dashboards import grafana

ROOT = pathlib.Path(__file__).parents[1]
FOLDER = ROOT / "charts" / "gpufleet" / "files" / "dashboards"


def render() -> dict[str, str]:
    """The text of every file by its name."""
    return {f"{board.name}.json": grafana.render(board) for board in dashboards.BOARDS}


def main() -> int:
    wanted = render()
    found = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    if "--check" in sys.argv[1:]:
        stale = sorted(name for name in wanted | found if wanted.get(name) != found.get(name))
        for name in stale:
            print(f"out of date, run `make generate`: {FOLDER.relative_to(ROOT)}/{name}", file=sys.stderr)
        return 1 if stale else 0
    FOLDER.mkdir(exist_ok=True)
    for name in found.keys() - wanted.keys():
        (FOLDER / name).unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
