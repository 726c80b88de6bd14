"""Structural OpenAPI v3 schemas, as CustomResourceDefinitions demand them, from pydantic models.

pydantic's own JSON schema is refused by the API server: it holds references, unions with null, numeric
exclusive bounds, constants and titles (https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/
custom-resource-definitions/#specifying-a-structural-schema). What has no structural form raises here, when
the CRDs are generated.

Optional fields are absent, never null. Defaults are told in descriptions only: the operator applies them,
so that stored objects hold what their authors wrote.
"""

from __future__ import annotations

import json
from typing import Any

import pydantic

from gpufleet.api import rules

Schema = dict[str, Any]

KEPT = (
    "description",
    "type",
    "format",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
)  # fmt: skip
CONVERTED = (
    "$ref", "$defs", "allOf", "anyOf", "additionalProperties", "const", "default", "exclusiveMaximum",
    "exclusiveMinimum", "items", "properties", "required", "title", "uniqueItems",
)  # fmt: skip
EXTENSION = "x-kubernetes-"
INT32_MAX = 2**31 - 1


class NotStructural(ValueError):
    """A model says something that a CRD cannot."""


def structural_schema(model: type[pydantic.BaseModel], *, show_defaults: bool = True) -> Schema:
    """The schema of one model, references inlined.

    Raises:
        NotStructural: the model is recursive, or has a union, tuple, duration or untyped object.
    """
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _Converter(schema.get("$defs", {}), show_defaults).convert(schema, model.__name__, ())


class _Converter:
    """Walks one JSON schema; `path` is for messages, `open_refs` finds recursion."""

    def __init__(self, definitions: dict[str, Schema], show_defaults: bool) -> None:
        self._definitions = definitions
        self._show_defaults = show_defaults

    def convert(self, node: Schema, path: str, open_refs: tuple[str, ...]) -> Schema:
        node, open_refs = self._inlined(node, path, open_refs)
        _refuse_unknown_keywords(node, path)
        schema = {key: node[key] for key in KEPT if key in node}
        if "const" in node:
            schema["enum"] = [node["const"]]
        schema |= _bounds(node)
        schema |= _integer_format(schema)
        schema |= self._object(node, path, open_refs)
        schema |= self._array(node, path, open_refs)
        schema |= {key: value for key, value in node.items() if key.startswith(EXTENSION)}
        if description := self._description(node):
            schema = {"description": description} | {k: v for k, v in schema.items() if k != "description"}
        if "type" not in schema and rules.INT_OR_STRING not in schema:
            raise NotStructural(f"{path}: needs a type; Any and untyped dictionaries have no structural form")
        return schema

    def _inlined(self, node: Schema, path: str, open_refs: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
        """The node without $ref, allOf and optional unions; what the field says wins over its type."""
        while True:
            if "$ref" in node:
                name = node["$ref"].rsplit("/", 1)[-1]
                if name in open_refs:
                    raise NotStructural(f"{path}: {name} contains itself, and a CRD cannot be recursive")
                open_refs = (*open_refs, name)
                node = _merged(self._definitions[name], node, "$ref")
            elif "allOf" in node and len(node["allOf"]) == 1:
                node = _merged(node["allOf"][0], node, "allOf")
            elif "anyOf" in node:
                node = _merged(_only_member(node["anyOf"], path), node, "anyOf")
            else:
                return node, open_refs

    def _object(self, node: Schema, path: str, open_refs: tuple[str, ...]) -> Schema:
        if node.get("type") != "object":
            return {}
        values = node.get("additionalProperties")
        if isinstance(values, dict):
            return {"additionalProperties": self.convert(values, f"{path}.*", open_refs)}
        if "properties" not in node:
            raise NotStructural(f"{path}: an object needs properties or a type for its values")
        found: Schema = {"required": sorted(node["required"])} if node.get("required") else {}
        found["properties"] = {
            name: self.convert(child, f"{path}.{name}", open_refs)
            for name, child in sorted(node["properties"].items())
        }
        return found

    def _array(self, node: Schema, path: str, open_refs: tuple[str, ...]) -> Schema:
        if node.get("type") != "array":
            return {}
        if not node.get("items"):
            raise NotStructural(f"{path}: a list needs a type for its items")
        found: Schema = {"items": self.convert(node["items"], f"{path}[]", open_refs)}
        if node.get("uniqueItems"):
            found[rules.LIST_TYPE] = "set"
        elif rules.LIST_TYPE not in node:
            found[rules.LIST_TYPE] = "atomic"
        return found

    def _description(self, node: Schema) -> str:
        words = " ".join(node.get("description", "").split())
        default = node.get("default")
        if not self._show_defaults or default in (None, "", [], {}) or isinstance(default, dict):
            return words
        return f"{words} (default: {default if isinstance(default, str) else json.dumps(default)})".lstrip()


def _merged(base: Schema, node: Schema, replaced: str) -> Schema:
    own = {key: value for key, value in node.items() if key != replaced}
    merged = base | own
    if rules.VALIDATIONS in base and rules.VALIDATIONS in own:
        merged[rules.VALIDATIONS] = [*base[rules.VALIDATIONS], *own[rules.VALIDATIONS]]
    return merged


def _only_member(members: list[Schema], path: str) -> Schema:
    present = [member for member in members if member.get("type") != "null"]
    if len(present) == 1:
        return present[0]
    if sorted(member.get("type", "") for member in present) == ["integer", "string"]:
        return {rules.INT_OR_STRING: True}
    raise NotStructural(f"{path}: a union; use one optional member per variant and rules.exactly_one")


def _bounds(node: Schema) -> Schema:
    """A CRD's exclusive bounds are booleans beside the bound."""
    found: Schema = {}
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if exclusive in node:
            found |= {bound: node[exclusive], exclusive: True}
    return found


def _integer_format(schema: Schema) -> Schema:
    if schema.get("type") != "integer":
        return {}
    lowest, highest = schema.get("minimum"), schema.get("maximum")
    small = lowest is not None and highest is not None and -INT32_MAX <= lowest <= highest <= INT32_MAX
    return {"format": "int32" if small else "int64"}


def _refuse_unknown_keywords(node: Schema, path: str) -> None:
    unknown = [key for key in node if key not in KEPT + CONVERTED and not key.startswith(EXTENSION)]
    if unknown:
        raise NotStructural(f"{path}: {', '.join(sorted(unknown))} has no structural form")
    if node.get("format") == "duration":
        raise NotStructural(f"{path}: durations are integers with the unit in the field's name")
