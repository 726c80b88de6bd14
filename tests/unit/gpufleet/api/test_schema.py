"""Each way in which pydantic's schema is not structural, and what becomes of it."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal

import pydantic
import pydantic_core
import pytest

from gpufleet.api import meta, rules, schema


class Inner(meta.Schema):
    """Inner words."""

    model_config = pydantic.ConfigDict(json_schema_extra=rules.validated(rules.Rule("true", "type rule")))

    size: Annotated[int, pydantic.Field(ge=1, le=5)] = 1


class Node(meta.Schema):
    """A tree."""

    children: list[Node]


def convert(annotation: Any, default: Any = ..., **options: Any) -> dict[str, Any]:
    """The schema of a field `x` of this type."""
    model = pydantic.create_model("Probe", __base__=meta.Schema, x=(annotation, default))
    found: dict[str, Any] = schema.structural_schema(model, **options)["properties"]["x"]
    return found


@pytest.mark.parametrize(
    ("annotation", "wanted"),
    [
        pytest.param(str, {"type": "string"}, id="string-without-title"),
        pytest.param(bool, {"type": "boolean"}, id="boolean"),
        pytest.param(int, {"type": "integer", "format": "int64"}, id="open-integer-is-int64"),
        pytest.param(
            Annotated[int, pydantic.Field(ge=0, le=2**31 - 1)],
            {"type": "integer", "format": "int32", "minimum": 0, "maximum": 2**31 - 1},
            id="bounded-integer-is-int32",
        ),
        pytest.param(
            Annotated[int, pydantic.Field(ge=0, le=2**31)],
            {"type": "integer", "format": "int64", "minimum": 0, "maximum": 2**31},
            id="large-bound-is-int64",
        ),
        pytest.param(
            Annotated[int, pydantic.Field(gt=0, lt=9)],
            {
                "type": "integer",
                "format": "int32",
                "minimum": 0,
                "exclusiveMinimum": True,
                "maximum": 9,
                "exclusiveMaximum": True,
            },
            id="exclusive-bounds-are-booleans",
        ),
        pytest.param(Literal["a"], {"type": "string", "enum": ["a"]}, id="const-is-an-enum"),
        pytest.param(Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}, id="enum"),
        pytest.param(datetime.datetime, {"type": "string", "format": "date-time"}, id="moment"),
        pytest.param(int | str, {"x-kubernetes-int-or-string": True}, id="int-or-string"),
        pytest.param(
            list[str],
            {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "atomic"},
            id="list-is-atomic",
        ),
        pytest.param(
            set[str],
            {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            id="unique-items-are-a-set",
        ),
        pytest.param(
            dict[str, bool], {"type": "object", "additionalProperties": {"type": "boolean"}}, id="map"
        ),
    ],
)
def test_converts(annotation: Any, wanted: dict[str, Any]) -> None:
    assert convert(annotation) == wanted


def test_inlines_references_and_keeps_rules_of_both_sides() -> None:
    extra = rules.validated(rules.Rule("self.size < 5", "field rule"))
    found = convert(Annotated[Inner, pydantic.Field(description="Field words.", json_schema_extra=extra)])
    assert found["description"] == "Field words."
    assert [rule["message"] for rule in found[rules.VALIDATIONS]] == ["type rule", "field rule"]
    assert list(found["properties"]) == ["size"]


def test_a_type_describes_the_field_that_does_not() -> None:
    assert convert(Inner)["description"] == "Inner words."


def test_optional_fields_are_absent_and_never_null() -> None:
    model = pydantic.create_model("Probe", __base__=meta.Schema, must=(str, ...), may=(Inner | None, None))
    found = schema.structural_schema(model)
    assert found["required"] == ["must"]
    assert found["properties"]["may"]["type"] == "object"
    assert "nullable" not in str(found)
    assert "default" not in found["properties"]["may"]


@pytest.mark.parametrize(
    ("annotation", "default", "description"),
    [
        pytest.param(int, 3, "Words. (default: 3)", id="number"),
        pytest.param(int, 0, "Words. (default: 0)", id="zero"),
        pytest.param(bool, False, "Words. (default: false)", id="boolean-as-in-yaml"),
        pytest.param(Literal["Static"], "Static", "Words. (default: Static)", id="choice"),
        pytest.param(str, "", "Words.", id="empty-string-is-no-news"),
        pytest.param(str | None, None, "Words.", id="none-is-absence"),
        pytest.param(list[str], [], "Words.", id="empty-list-is-no-news"),
        pytest.param(Inner, Inner(), "Words.", id="objects-tell-field-by-field"),
    ],
)
def test_defaults_are_told_and_not_set(annotation: Any, default: Any, description: str) -> None:
    found = convert(Annotated[annotation, pydantic.Field(description="Words.")], default)
    assert found["description"] == description
    assert "default" not in found


def test_a_status_tells_no_defaults() -> None:
    found = convert(Annotated[int, pydantic.Field(description="Words.")], 3, show_defaults=False)
    assert found["description"] == "Words."


def test_list_keys_pass_through() -> None:
    found = convert(Annotated[list[Inner], pydantic.Field(json_schema_extra=rules.list_map("size"))])
    assert found[rules.LIST_TYPE] == "map"
    assert found[rules.LIST_MAP_KEYS] == ["size"]


def test_extra_forbid_leaves_no_trace() -> None:
    class Strict(pydantic.BaseModel):
        """Strict words."""

        model_config = pydantic.ConfigDict(extra="forbid")
        size: int

    assert "additionalProperties" not in convert(Strict)


class Cat(meta.Schema):
    """A cat."""

    kind: Literal["cat"]


class Dog(meta.Schema):
    """A dog."""

    kind: Literal["dog"]


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        pytest.param(Cat | Dog, "Probe.x: a union", id="union"),
        pytest.param(
            Annotated[Cat | Dog, pydantic.Field(discriminator="kind")],
            "Probe.x: discriminator, oneOf",
            id="tagged-union",
        ),
        pytest.param(tuple[int, str], "prefixItems", id="tuple"),
        pytest.param(datetime.timedelta, "Probe.x: durations are integers", id="duration"),
        pytest.param(Any, "Probe.x: needs a type", id="any"),
        pytest.param(dict[str, Any], "Probe.x: an object needs properties", id="untyped-map"),
        pytest.param(list[Any], r"Probe.x: a list needs a type", id="untyped-list"),
        pytest.param(Node, r"Probe.x.children\[\]: Node contains itself", id="recursion"),
    ],
)
def test_refuses_what_has_no_structural_form(annotation: Any, words: str) -> None:
    with pytest.raises(schema.NotStructural, match=words):
        convert(annotation)


@pytest.mark.parametrize("pattern", ["(?=a)b", "(?<!a)b", r"(a)\1"])
def test_models_refuse_patterns_that_the_server_cannot_compile(pattern: str) -> None:
    with pytest.raises(pydantic_core.SchemaError):
        convert(Annotated[str, pydantic.Field(pattern=pattern)])
