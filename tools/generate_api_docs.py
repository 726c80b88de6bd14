"""Write docs/reference, a page for each kind, from the CRDs in crds/.

With --check, write nothing and fail if a page differs from what would be written.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

ROOT = pathlib.Path(__file__).parents[1]
CRDS = ROOT / "crds"
PAGES = ROOT / "docs" / "reference"
INDEX = "README.md"

Schema = Mapping[str, Any]

_HEAD = """\
# Fields of all kinds

The same as `kubectl explain` tells. Written by `make generate`.

| Kind | What it is |
|---|---|"""
_ITEMS = {"string": "strings", "integer": "integers", "number": "numbers", "boolean": "booleans"}


def render_all() -> dict[str, str]:
    """Every page by its file's name."""
    kinds = [yaml.safe_load(path.read_text()) for path in sorted(CRDS.glob("*.yaml"))]
    pages = {f"{one['spec']['names']['singular']}.md": render(one) for one in kinds}
    return {INDEX: _render_index(kinds), **pages}


def render(crd: Schema) -> str:
    """The page of one kind: a section for each object in it, with its fields and rules."""
    names, version = crd["spec"]["names"], crd["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    short = ", ".join(f"`{one}`" for one in names.get("shortNames", ()))
    scope = "of a namespace" if crd["spec"]["scope"] == "Namespaced" else "of the cluster"
    parts = [
        f"# {names['kind']}\n\n{schema.get('description', '')}\n",
        f"`{crd['spec']['group']}/{version['name']}`, {scope}, in short {short}. By `make generate`.\n",
    ]
    for part in ("spec", "status"):
        if part in schema["properties"]:
            parts.extend(_render_object(part, schema["properties"][part]))
    return "\n".join(parts)


def _render_index(kinds: list[Any]) -> str:
    rows = [
        f"| [{one['spec']['names']['kind']}]({one['spec']['names']['singular']}.md) | "
        f"{_cell(one['spec']['versions'][0]['schema']['openAPIV3Schema'].get('description', ''))} |"
        for one in kinds
    ]
    return "\n".join([_HEAD, *rows, ""])


def _render_object(path: str, schema: Schema) -> Iterator[str]:
    """This object, then those within it."""
    fields, required = schema.get("properties", {}), schema.get("required", ())
    yield f"## {path}\n"
    if schema.get("description"):
        yield f"{schema['description']}\n"
    if fields:
        rows = [_render_field(name, one, name in required) for name, one in fields.items()]
        yield "\n".join(["| Field | Type | Meaning |", "|---|---|---|", *rows, ""])
    rules = [one["message"] for one in schema.get("x-kubernetes-validations", ()) if "message" in one]
    if rules:
        yield "\n".join(["Refused with these words:\n", *(f"- {one}" for one in rules), ""])
    for name, one in fields.items():
        inner, mark = _find_inner(one)
        if inner is not None:
            yield from _render_object(f"{path}.{name}{mark}", inner)


def _render_field(name: str, schema: Schema, is_required: bool) -> str:
    mark = ", **required**" if is_required else ""
    return f"| `{name}` | {_describe_type(schema)}{mark} | {_cell(schema.get('description', ''))} |"


def _find_inner(schema: Schema) -> tuple[Schema | None, str]:
    """The object with fields that a field holds, and how it is reached from the field."""
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(key), Mapping):
            schema = schema[key]
            return (schema, mark) if schema.get("properties") else (None, mark)
    return (schema, "") if schema.get("properties") else (None, "")


def _describe_type(schema: Schema) -> str:
    kind: str = schema.get("type", "any")
    if kind == "array":
        items = schema["items"]
        held = "objects" if items.get("properties") else _ITEMS.get(items.get("type", ""), "values")
        most = f", at most {schema['maxItems']}" if "maxItems" in schema else ""
        keys = schema.get("x-kubernetes-list-map-keys")
        return f"list of {held}{most}{', keyed by ' + ', '.join(keys) if keys else ''}"
    if isinstance(schema.get("additionalProperties"), Mapping):
        held = _ITEMS.get(schema["additionalProperties"].get("type", ""), "objects")
        most = f", at most {schema['maxProperties']}" if "maxProperties" in schema else ""
        return f"map of {held}{most}"
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if kind in ("integer", "number"):
        return f"{kind}{_describe_bounds(schema)}"
    return "time" if schema.get("format") == "date-time" else kind


def _describe_bounds(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is None and high is None:
        return ""
    return f", {low} to {high}" if None not in (low, high) else f", {low} or more"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """The exit code."""
    stale = [
        name
        for name, text in render_all().items()
        if not (PAGES / name).exists() or (PAGES / name).read_text() != text
    ]
    if "--check" in arguments:
        if stale:
            print(f"docs/reference is not up to date ({', '.join(stale)}): run make generate")
        return bool(stale)
    PAGES.mkdir(exist_ok=True)
    for name, text in render_all().items():
        (PAGES / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
