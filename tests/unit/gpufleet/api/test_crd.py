"""Every generated CRD: complete, capped, described, and naming only fields that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from gpufleet.api import crd, rules

CRDS = [pytest.param(kind, crd.build_crd(kind), id=kind.kind) for kind in crd.KINDS]
CAPS = {"string": "maxLength", "array": "maxItems", "integer": "maximum"}


def object_schema(manifest: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = manifest["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def walk(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema below `node`, with the path to it."""
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}")
    if "items" in node:
        yield from walk(node["items"], f"{path}[]")
    if "additionalProperties" in node:
        yield from walk(node["additionalProperties"], f"{path}.*")


def own_schemas(manifest: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Schemas below spec and status."""
    for part in ("spec", "status"):
        if part in object_schema(manifest)["properties"]:
            yield from walk(object_schema(manifest)["properties"][part], part)


def is_uncapped(node: dict[str, Any]) -> bool:
    if "enum" in node or node.get("format") == "date-time":
        return False
    if "additionalProperties" in node:
        return "maxProperties" not in node
    cap = CAPS.get(node["type"])
    return (cap is not None and cap not in node) or (node["type"] == "integer" and "minimum" not in node)


@pytest.mark.parametrize(("kind", "manifest"), CRDS)
def test_every_list_string_map_and_number_has_a_cap(kind: crd.Kind, manifest: dict[str, Any]) -> None:
    assert [path for path, node in own_schemas(manifest) if is_uncapped(node)] == []


@pytest.mark.parametrize(
    ("node", "uncapped"),
    [
        pytest.param({"type": "string"}, True, id="string"),
        pytest.param({"type": "integer", "maximum": 3}, True, id="integer-without-minimum"),
        pytest.param({"type": "array", "items": {}}, True, id="list"),
        pytest.param({"type": "object", "additionalProperties": {}}, True, id="map"),
        pytest.param({"type": "string", "enum": ["a"]}, False, id="enum"),
        pytest.param({"type": "string", "maxLength": 3}, False, id="capped"),
        pytest.param({"type": "object", "properties": {}}, False, id="object"),
    ],
)
def test_the_cap_check_can_fail(node: dict[str, Any], uncapped: bool) -> None:
    assert is_uncapped(node) is uncapped


@pytest.mark.parametrize(("kind", "manifest"), CRDS)
def test_every_field_is_described(kind: crd.Kind, manifest: dict[str, Any]) -> None:
    fields = [(path, node) for path, node in own_schemas(manifest) if not path.endswith(("[]", ".*"))]
    assert [path for path, node in fields if not node.get("description")] == []


@pytest.mark.parametrize(("kind", "manifest"), CRDS)
def test_the_server_sets_no_defaults(kind: crd.Kind, manifest: dict[str, Any]) -> None:
    assert [path for path, node in own_schemas(manifest) if "default" in node] == []


@pytest.mark.parametrize(("kind", "manifest"), CRDS)
def test_every_list_says_how_it_merges(kind: crd.Kind, manifest: dict[str, Any]) -> None:
    for path, node in own_schemas(manifest):
        if node["type"] != "array":
            continue
        assert node[rules.LIST_TYPE] in ("atomic", "map"), path
        for key in node.get(rules.LIST_MAP_KEYS, []):
            assert key in node["items"]["required"], path


@pytest.mark.parametrize(("kind", "manifest"), [one for one in CRDS if one.id != "ModelProfile"])
def test_conditions_are_a_map_by_type(kind: crd.Kind, manifest: dict[str, Any]) -> None:
    conditions = object_schema(manifest)["properties"]["status"]["properties"]["conditions"]
    assert conditions[rules.LIST_MAP_KEYS] == ["type"]


def exists(manifest: dict[str, Any], path: str) -> bool:
    """Whether a printer column or scale path leads to a field."""
    node = object_schema(manifest)
    for part in re.sub(r"\[.*\]", ".[]", path).strip(".").split("."):
        node = node.get("items", {}) if part == "[]" else node.get("properties", {}).get(part, {})
    return bool(node)


@pytest.mark.parametrize(("kind", "manifest"), CRDS)
def test_columns_and_scale_lead_to_fields(kind: crd.Kind, manifest: dict[str, Any]) -> None:
    paths = [column.path for column in kind.columns if column is not crd.AGE]
    paths += list((kind.scale or {}).values())
    assert [path for path in paths if not exists(manifest, path)] == []


def test_the_path_check_can_fail() -> None:
    assert not exists(crd.build_crd(crd.KINDS[0]), ".status.assignment.nothing")


@pytest.mark.parametrize(
    ("plural", "short_name", "scope", "scale"),
    [
        pytest.param("tritonservices", "tsvc", "Namespaced", True, id="TritonService"),
        pytest.param("trainingjobs", "tjob", "Namespaced", False, id="TrainingJob"),
        pytest.param("gpupools", "gpool", "Cluster", False, id="GPUPool"),
        pytest.param("modelprofiles", "mprof", "Namespaced", False, id="ModelProfile"),
    ],
)
def test_names(plural: str, short_name: str, scope: str, scale: bool) -> None:
    (manifest,) = [crd.build_crd(kind) for kind in crd.KINDS if kind.plural == plural]
    spec = manifest["spec"]
    assert manifest["metadata"]["name"] == f"{plural}.gpufleet.dev"
    assert spec["scope"] == scope
    assert spec["names"]["shortNames"] == [short_name]
    assert spec["names"]["categories"] == ["gpufleet"]
    subresources = spec["versions"][0].get("subresources", {})
    assert ("status" in subresources) is (plural != "modelprofiles"), "a record has none"
    assert ("scale" in subresources) is scale
