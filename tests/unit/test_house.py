"""The house keeps its shape: sizes of files and functions, and names that must not leak."""

from __future__ import annotations

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SOURCES = sorted(
    path
    for room in ("operator", "sandbox")
    for path in (ROOT / room).rglob("*.py")
    if not path.name.endswith("_pb2.py")
)
FILE_LINES = 300
FUNCTION_LINES = 60
HANDLER_LINES = 15


def functions(path: pathlib.Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def length(node: ast.AST) -> int:
    return (node.end_lineno or 0) - node.lineno + 1  # type: ignore[attr-defined]


def named(path: pathlib.Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_files_and_functions_stay_small(path: pathlib.Path) -> None:
    assert len(path.read_text().splitlines()) <= FILE_LINES
    too_long = {node.name: length(node) for node in functions(path) if length(node) > FUNCTION_LINES}
    assert not too_long


def is_handler(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any("kopf." in ast.unparse(decorator) for decorator in node.decorator_list)


@pytest.mark.parametrize("path", sorted((ROOT / "operator/gpufleet/handlers").glob("*.py")), ids=named)
def test_handlers_hand_over(path: pathlib.Path) -> None:
    too_long = {n.name: length(n) for n in functions(path) if is_handler(n) and length(n) > HANDLER_LINES}
    assert not too_long


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_every_module_says_its_place(path: pathlib.Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), (
        "a module docstring names its place in the pipeline"
    )
