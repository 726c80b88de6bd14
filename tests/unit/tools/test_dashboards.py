"""The boards: in date, as Grafana's SDK reads them, and reading rules that exist."""

from __future__ import annotations

import json
import pathlib
import re

import pytest
import yaml
from grafana_foundation_sdk.cog import encoder
from grafana_foundation_sdk.models import dashboard as models

from tools import dashboards, generate_dashboards
from tools.dashboards import board as boards

RULES = generate_dashboards.FOLDER.parent / "rules"
BOARDS = [pytest.param(board, id=board.name) for board in dashboards.BOARDS]
RECORDED = {
    rule.get("record")
    for path in RULES.glob("*.yaml")
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
}


def read_json(board: boards.Board) -> dict[str, object]:
    found: dict[str, object] = json.loads((generate_dashboards.FOLDER / f"{board.name}.json").read_text())
    return found


@pytest.mark.parametrize("board", BOARDS)
def test_grafanas_sdk_reads_what_was_written(board: boards.Board) -> None:
    told = read_json(board)
    again = encoder.JSONEncoder(sort_keys=True).encode(models.Dashboard.from_json(told))
    assert json.loads(again) == told


@pytest.mark.parametrize("board", BOARDS)
def test_rows_are_whole_and_titles_told_apart(board: boards.Board) -> None:
    for row in board.rows:
        assert sum(panel.width for panel in row.panels) % boards.WIDTH == 0, row.title
        titles = [panel.title for panel in row.panels]
        assert len(titles) == len(set(titles))
        assert all(panel.meaning.endswith(".") for panel in row.panels)


@pytest.mark.parametrize("board", BOARDS)
def test_recorded_series_are_recorded(board: boards.Board) -> None:
    queries = [query.expr for panel in board.panels() for query in panel.queries]
    queries += [one.series for one in board.choices if isinstance(one, boards.Choice)]
    used = {name for query in queries for name in re.findall(r"[a-z_]\w*:\w+:\w+", query)}
    assert used
    assert used <= RECORDED


@pytest.mark.parametrize("board", BOARDS)
def test_every_panel_asks_the_chosen_prometheus(board: boards.Board) -> None:
    text = json.dumps(read_json(board))
    assert set(re.findall(r'"uid": "([^"]*)"', text)) == {"${datasource}", f"gpufleet-{board.name}"}


def test_the_fleet_begins_with_the_four_rows_that_everybody_expects() -> None:
    [fleet] = [one for one in dashboards.BOARDS if one.name == "fleet"]
    assert [row.title for row in fleet.rows[:4]] == ["Utilisation", "Memory", "Throughput", "Latency"]


def test_names_that_begin_alike_are_filled_in_apart() -> None:
    choices = (boards.Choice("pod", "a", "a"), boards.Text("pod_price", "b", "2"))
    board = boards.Board("b", "", "", (), choices)
    assert board.fill("$pod + $pod_price") == ".* + 2"


def test_check_finds_what_is_old_or_left_over_and_a_run_repairs_it(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate_dashboards, "ROOT", tmp_path)
    monkeypatch.setattr(generate_dashboards, "FOLDER", tmp_path / "boards")
    monkeypatch.setattr("sys.argv", ["generate_dashboards"])
    assert generate_dashboards.main() == 0
    (tmp_path / "boards" / "old.json").write_text("{}")
    (tmp_path / "boards" / "mig.json").write_text("{}")
    monkeypatch.setattr("sys.argv", ["generate_dashboards", "--check"])
    assert generate_dashboards.main() == 1
    assert [line.rpartition("/")[2] for line in capsys.readouterr().err.splitlines()] == [
        "mig.json",
        "old.json",
    ]
    monkeypatch.setattr("sys.argv", ["generate_dashboards"])
    assert generate_dashboards.main() == 0
    monkeypatch.setattr("sys.argv", ["generate_dashboards", "--check"])
    assert generate_dashboards.main() == 0
