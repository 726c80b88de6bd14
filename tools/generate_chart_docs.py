"""Write the chart's schema and README from what values.yaml says of each value.

The comment above a value is its description in values.schema.json, which editors show; the table in the
README is made of the schema. With --check, write nothing and fail if a file differs from that.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

ROOT = pathlib.Path(__file__).parents[1]
CHART = ROOT / "charts" / "gpufleet"
BEGIN, END = "<!-- values: begin -->", "<!-- values: end -->"
LONGEST_DEFAULT = 60
"""Characters; a longer default is said to be in values.yaml."""
LONGEST_LINE = 110
"""Characters; what is longer in the schema is broken into its parts."""


class DocsError(ValueError):
    """values.yaml, its schema and the README do not fit together; the message says where."""


@dataclasses.dataclass(frozen=True)
class Value:
    """One value of the chart, as a row of the table."""

    path: str
    kind: str
    default: Any
    meaning: str


def read_values(text: str, schema: Mapping[str, Any]) -> list[Value]:
    """Every leaf of values.yaml in its order; a map whose keys the schema does not name here is a leaf.

    Raises:
        DocsError: a value lacks a comment, or values.yaml and the schema do not name the same values.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise DocsError("values.yaml is no map")
    return list(_walk(root, schema, schema["definitions"], text.splitlines(), ""))


def _walk(
    node: yaml.MappingNode,
    group: Mapping[str, Any],
    definitions: Mapping[str, Any],
    lines: list[str],
    prefix: str,
) -> Iterator[Value]:
    known = {name: rules for name, rules in group["properties"].items() if "$comment" not in rules}
    given = {key.value for key, _ in node.value}
    if given != known.keys():
        differing = ", ".join(f"{prefix}{name}" for name in sorted(given ^ known.keys()))
        raise DocsError(f"in only one of values.yaml and values.schema.json: {differing}")
    for key, value in node.value:
        path, rules = f"{prefix}{key.value}", known[key.value]
        if "properties" in rules:
            yield from _walk(value, rules, definitions, lines, f"{path}.")
            continue
        # What is defined apart is a type of Kubernetes, and described there.
        found = definitions[rules["$ref"].rpartition("/")[2]] if "$ref" in rules else rules
        default = yaml.safe_load(yaml.serialize(value))
        yield Value(path, _describe_type(found), default, _read_comment(lines, key.start_mark.line, path))


def _describe_type(rules: Mapping[str, Any]) -> str:
    if "enum" in rules:
        return " \\| ".join(f"`{one}`" for one in rules["enum"])
    low, high = rules.get("minimum"), rules.get("maximum")
    if low is not None and high is not None:
        return f"{rules['type']}, {low} to {high}"
    return str(rules["type"])


def _read_comment(lines: list[str], at: int, path: str) -> str:
    """The comment lines right above a key."""
    first = at
    while first > 0 and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    if first == at:
        raise DocsError(f"{path} has no comment in values.yaml")
    return " ".join(line.lstrip().removeprefix("#").strip() for line in lines[first:at])


def describe(schema: Mapping[str, Any], values: list[Value]) -> dict[str, Any]:
    """The schema with the meaning of every value as its description, before its rules."""
    meanings = {one.path: one.meaning for one in values}
    return {**schema, "properties": _describe_all(schema["properties"], meanings, "")}


def _describe_all(group: Mapping[str, Any], meanings: Mapping[str, str], prefix: str) -> dict[str, Any]:
    described: dict[str, Any] = {}
    for name, rules in group.items():
        path = f"{prefix}{name}"
        rest = {key: value for key, value in rules.items() if key != "description"}
        if path in meanings:
            described[name] = {"description": meanings[path], **rest}
        elif "properties" in rules:
            described[name] = {**rest, "properties": _describe_all(rest["properties"], meanings, f"{path}.")}
        else:
            described[name] = dict(rules)
    return described


def write_json(value: Any, indent: str = "", prefix: str = "") -> str:
    """JSON in which whatever fits stands on one line; `prefix` stands before it there."""
    whole = json.dumps(value, ensure_ascii=False)
    if (
        len(indent) + len(prefix) + len(whole) < LONGEST_LINE
        or not isinstance(value, dict | list)
        or not value
    ):
        return whole
    deeper = f"{indent}  "
    if isinstance(value, list):
        parts = [write_json(one, deeper) for one in value]
        opening, closing = "[", "]"
    else:
        named = {json.dumps(name): one for name, one in value.items()}
        parts = [f"{name}: {write_json(one, deeper, f'{name}: ')}" for name, one in named.items()]
        opening, closing = "{", "}"
    joined = f",\n{deeper}".join(parts)
    return f"{opening}\n{deeper}{joined}\n{indent}{closing}"


def render_table(values: list[Value]) -> str:
    """The values as a Markdown table."""
    rows = [f"| `{one.path}` | {one.kind} | {_show(one.default)} | {one.meaning} |" for one in values]
    return "\n".join(["| Value | Type | Default | Meaning |", "|---|---|---|---|", *rows])


def _show(default: Any) -> str:
    text = json.dumps(default)
    return f"`{text}`" if len(text) <= LONGEST_DEFAULT else "see values.yaml"


def render(readme: str, table: str) -> str:
    """The README with this table between its markers. Raises DocsError where they are missing."""
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    if len(pattern.findall(readme)) != 1:
        raise DocsError(f"README.md needs one pair of {BEGIN} and {END}")
    return pattern.sub(lambda _: f"{BEGIN}\n{table}\n{END}", readme)


def build(chart: pathlib.Path) -> dict[pathlib.Path, str]:
    """The files of a chart as they should be. Raises DocsError."""
    schema = json.loads((chart / "values.schema.json").read_text())
    values = read_values((chart / "values.yaml").read_text(), schema)
    return {
        chart / "values.schema.json": write_json(describe(schema, values)) + "\n",
        chart / "README.md": render((chart / "README.md").read_text(), render_table(values)),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail on any difference")
    check = parser.parse_args().check
    try:
        wanted = build(CHART)
    except DocsError as error:
        print(error, file=sys.stderr)
        return 1
    outdated = [path for path, text in wanted.items() if path.read_text() != text]
    for path in outdated:
        if check:
            print(f"out of date, run `make generate`: {path.relative_to(ROOT)}", file=sys.stderr)
        else:
            path.write_text(wanted[path])
    return 1 if check and outdated else 0


if __name__ == "__main__":
    sys.exit(main())
