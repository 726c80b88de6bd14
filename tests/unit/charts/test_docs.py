"""The values table of the chart's README: complete, in date, and complaining about what is missing."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest
import yaml

import gpufleet
from tests.unit.charts import rendering
from tools import generate_chart_docs

SCHEMA: dict[str, Any] = {
    "properties": {
        "global": {"$comment": "Helm's", "type": "object"},
        "a": {"type": "integer", "minimum": 0, "maximum": 9},
        "b": {"type": "object", "properties": {"c": {"$ref": "#/definitions/map"}}},
    },
    "definitions": {"map": {"type": "object", "properties": {"x": {"type": "string"}}}},
}
VALUES = "# First\n# and more.\na: 1\nb:\n  # Second.\n  c: {x: y}\n"


def test_values_are_read_in_their_order() -> None:
    first, second = generate_chart_docs.read_values(VALUES, SCHEMA)
    assert first == generate_chart_docs.Value("a", "integer, 0 to 9", 1, "First and more.")
    assert second == generate_chart_docs.Value("b.c", "object", {"x": "y"}, "Second.")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        pytest.param(VALUES.replace("# First\n# and more.\n", ""), "a has no comment", id="no comment"),
        pytest.param(VALUES.replace("a: 1", "z: 1"), ": a, z", id="a key that the schema lacks"),
        pytest.param(VALUES.replace("  c: {x: y}", "  d: 1"), ": b.c, b.d", id="further down"),
        pytest.param("[]", "no map", id="no map"),
    ],
)
def test_what_does_not_fit_together_is_named(text: str, named: str) -> None:
    with pytest.raises(generate_chart_docs.DocsError, match=named):
        generate_chart_docs.read_values(text, SCHEMA)


def test_the_schema_tells_what_a_value_means_before_its_rules() -> None:
    found = generate_chart_docs.describe(SCHEMA, generate_chart_docs.read_values(VALUES, SCHEMA))[
        "properties"
    ]
    assert found["global"] == SCHEMA["properties"]["global"]
    assert list(found["a"]) == ["description", "type", "minimum", "maximum"]
    assert found["b"]["properties"]["c"] == {"description": "Second.", "$ref": "#/definitions/map"}


@pytest.mark.parametrize(
    ("value", "lines"),
    [
        pytest.param({"a": [1, "ü"]}, ['{"a": [1, "ü"]}'], id="what fits stands on one line"),
        pytest.param({}, ["{}"], id="nothing"),
        pytest.param(
            {"a": ["x" * 60, "y" * 60], "b": 1},
            ["{", '  "a": [', f'    "{"x" * 60}",', f'    "{"y" * 60}"', "  ],", '  "b": 1', "}"],
            id="what does not is broken into its parts",
        ),
    ],
)
def test_json_is_written_compactly(value: Any, lines: list[str]) -> None:
    assert generate_chart_docs.write_json(value).splitlines() == lines


def test_a_readme_without_markers_is_refused() -> None:
    with pytest.raises(generate_chart_docs.DocsError, match="needs one pair"):
        generate_chart_docs.render("# Title", "table")


def test_only_what_is_between_the_markers_changes() -> None:
    begin, end = generate_chart_docs.BEGIN, generate_chart_docs.END
    once = generate_chart_docs.render(f"before\n{begin}\nold\n{end}\nafter\n", "| a\\b |")
    assert once == f"before\n{begin}\n| a\\b |\n{end}\nafter\n"
    assert generate_chart_docs.render(once, "| a\\b |") == once


@pytest.fixture
def copy(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    for name in ("values.yaml", "values.schema.json", "README.md"):
        (tmp_path / name).write_text((rendering.CHART / name).read_text())
    monkeypatch.setattr(generate_chart_docs, "CHART", tmp_path)
    monkeypatch.setattr(generate_chart_docs, "ROOT", tmp_path)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    monkeypatch.setattr("sys.argv", ["generate_chart_docs.py", *args])
    return generate_chart_docs.main()


def test_the_readme_is_in_date(copy: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "--check") == 0


def test_check_finds_a_changed_default_and_a_run_repairs_it(
    copy: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    values = copy / "values.yaml"
    values.write_text(values.read_text().replace("replicas: 1", "replicas: 3"))
    assert run(monkeypatch, "--check") == 1
    assert "README.md" in capsys.readouterr().err
    assert run(monkeypatch) == 0
    assert "| `replicas` | integer, 0 to 5 | `3` |" in (copy / "README.md").read_text()
    assert run(monkeypatch, "--check") == 0


def objects(schema: Any) -> list[dict[str, Any]]:
    """Every object schema that names its keys, at any depth."""
    if isinstance(schema, list):
        return [found for one in schema for found in objects(one)]
    if not isinstance(schema, dict):
        return []
    below = [found for one in schema.values() for found in objects(one)]
    own = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    return [schema, *below] if own else below


def test_the_schema_lets_no_misspelt_key_through() -> None:
    schema = json.loads((rendering.CHART / "values.schema.json").read_text())
    found = objects(schema)
    assert len(found) > 10
    assert all(one.get("additionalProperties") is False for one in found)


def test_chart_and_package_have_one_version() -> None:
    chart = yaml.safe_load((rendering.CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == chart["version"] == gpufleet.__version__


def leaves(group: dict[str, Any]) -> list[dict[str, Any]]:
    """Every value of a schema; the keys of values with a type of Kubernetes are Kubernetes' own."""
    found: list[dict[str, Any]] = []
    for rules in group["properties"].values():
        found += [rules] if "description" in rules or "properties" not in rules else leaves(rules)
    return found


def test_every_value_is_described_in_the_schema() -> None:
    schema = json.loads((rendering.CHART / "values.schema.json").read_text())
    found = [one for one in leaves(schema) if "$comment" not in one]
    assert len(found) > 50
    assert all(len(one.get("description", "")) > 10 for one in found)
