"""The reference of fields says all that the CRDs say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tools import generate_api_docs

CRDS = sorted(generate_api_docs.CRDS.glob("*.yaml"))


def test_the_pages_are_in_date() -> None:
    assert generate_api_docs.main(["--check"]) == 0


def list_fields(path: str, schema: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(section, field, description) of everything under spec and status."""
    for name, one in schema.get("properties", {}).items():
        yield path, name, one.get("description", "")
        inner, mark = one, ""
        for key, suffix in (("items", "[]"), ("additionalProperties", "{}")):
            if isinstance(one.get(key), dict):
                inner, mark = one[key], suffix
        yield from list_fields(f"{path}.{name}{mark}", inner)


@pytest.mark.parametrize("path", [pytest.param(one, id=one.name) for one in CRDS])
def test_every_field_stands_in_its_section(path: Any) -> None:
    crd = yaml.safe_load(path.read_text())
    sections = dict[str, str]()
    for text in generate_api_docs.render(crd).split("\n## ")[1:]:
        title, _, body = text.partition("\n")
        sections[title] = body
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    fields = [
        field
        for part in ("spec", "status")
        if part in schema["properties"]
        for field in list_fields(part, schema["properties"][part])
    ]
    assert len(fields) > 20
    for section, name, description in fields:
        assert f"| `{name}` | " in sections[section]
        assert " ".join(description.split()).replace("|", "\\|") in sections[section]


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        pytest.param({"type": "string"}, "string", id="plain"),
        pytest.param({"type": "string", "enum": ["A", "B"]}, "`A`, `B`", id="one of"),
        pytest.param({"type": "string", "format": "date-time"}, "time", id="time"),
        pytest.param({"type": "integer", "minimum": 0, "maximum": 9}, "integer, 0 to 9", id="bounds"),
        pytest.param({"type": "number", "minimum": 0}, "number, 0 or more", id="no upper bound"),
        pytest.param(
            {
                "type": "array",
                "maxItems": 8,
                "items": {"type": "object", "properties": {"name": {}}},
                "x-kubernetes-list-map-keys": ["name"],
            },
            "list of objects, at most 8, keyed by name",
            id="list",
        ),
        pytest.param(
            {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 4},
            "map of strings, at most 4",
            id="map",
        ),
    ],
)
def test_type(schema: dict[str, Any], said: str) -> None:
    assert generate_api_docs._describe_type(schema) == said
