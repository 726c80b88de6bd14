"""The page of metrics: complete, in date, with a unit and labels for each."""

from __future__ import annotations

import pathlib

import prometheus_client
import pytest

from gpufleet.report import objects
from tools import generate_metrics_docs as docs


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        pytest.param("gpufleet_cycle_duration_seconds", "seconds", id="seconds"),
        pytest.param("gpufleet_x_seconds_total", "seconds", id="a counter of seconds"),
        pytest.param("gpufleet_x_timestamp_seconds", "seconds since 1970", id="a moment"),
        pytest.param("gpufleet_pod_info", "0 or 1", id="information"),
        pytest.param("gpufleet_queue_depth", "number", id="a number"),
    ],
)
def test_units(name: str, unit: str) -> None:
    assert docs.Row(name, "gauge", "", ()).unit == unit


def test_the_page_has_every_metric_of_the_process() -> None:
    page = docs.PAGE.read_text()
    ours = [one for one in prometheus_client.REGISTRY.collect() if one.name.startswith("gpufleet_")]
    assert ours
    for one in ours:
        assert f"`{one.name}{'_total' if one.type == 'counter' else ''}`" in page
    for family in objects.FAMILIES:
        assert f"| `{family.name}` |" in page


def test_check_finds_an_old_page_and_a_run_repairs_it(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    monkeypatch.setattr(docs, "PAGE", tmp_path / "metrics.md")
    monkeypatch.setattr("sys.argv", ["generate_metrics_docs.py", "--check"])
    assert docs.main() == 1
    assert "metrics.md" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["generate_metrics_docs.py"])
    assert docs.main() == 0
    assert docs.PAGE.read_text() == docs.render()
