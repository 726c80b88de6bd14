"""Every reason that a decision can have has a page that says what to do about it."""

from __future__ import annotations

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[5]
PAGES = ROOT / "docs" / "runbooks" / "autoscaling"
CODE = ROOT / "operator" / "gpufleet" / "decide" / "autoscaling"
NO_REASONS = {"Objective", "ShedLoad"}
"""What asks for a number, in the same form."""
WORD = re.compile(r"(?:[A-Z][a-z]+)+")


def find_reasons() -> set[str]:
    """Constants of the modules that decide, and what behavior says it holds back for."""
    found: set[str] = set()
    for name in ("scaler", "policy", "sleep", "memories"):
        found |= set(_constants(ast.parse((CODE / f"{name}.py").read_text())))
    for node in ast.walk(ast.parse((CODE / "behavior.py").read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Held" and len(node.args) > 1:
            found.add(ast.literal_eval(node.args[1]))
    return found - NO_REASONS


def _constants(tree: ast.Module) -> list[str]:
    """Values of module constants that are one CamelCase word."""
    return [
        node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        and WORD.fullmatch(node.value.value)
    ]


def test_the_search_finds_what_there_is() -> None:
    some = {"ScaledUp", "NoEvidence", "ScaledToZero", "PodsOverdue", "ScaleDownStabilized", "SurgeLimit"}
    assert some <= find_reasons()


def test_every_reason_has_a_page_and_every_page_a_reason() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} - {"README"} == find_reasons()


@pytest.mark.parametrize("reason", sorted(find_reasons()))
def test_a_page_says_what_it_means_how_to_see_it_and_what_to_do(reason: str) -> None:
    text = (PAGES / f"{reason}.md").read_text()
    assert text.startswith(f"# {reason}\n")
    for part in ("**It means**", "**See it**", "**Do**"):
        assert part in text
    links = re.findall(r"\]\(([^)#:]+)[^)]*\)", text)
    assert all((PAGES / link).exists() for link in links), links


def test_the_list_of_pages_is_whole() -> None:
    text = (PAGES / "README.md").read_text()
    assert set(re.findall(r"\]\((\w+)\.md\)", text)) == find_reasons()
