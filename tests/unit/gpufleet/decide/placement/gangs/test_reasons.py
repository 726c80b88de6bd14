"""Every reason that a gang can be given has a page that says what to do about it."""

from __future__ import annotations

import pathlib
import re

import pytest

from gpufleet.api import reasons

PAGES = pathlib.Path(__file__).parents[6] / "docs" / "runbooks" / "training"
REASONS = sorted({*reasons.WITHOUT_PLACE, *reasons.TAKING, reasons.GROWN})


def test_every_reason_has_a_page_and_every_page_a_reason() -> None:
    assert sorted({page.stem for page in PAGES.glob("*.md")} - {"README"}) == REASONS


@pytest.mark.parametrize("reason", REASONS)
def test_a_page_says_what_it_means_how_to_see_it_and_what_to_do(reason: str) -> None:
    text = (PAGES / f"{reason}.md").read_text()
    assert text.startswith(f"# {reason}\n")
    for part in ("**It means**", "**See it**", "**Do**"):
        assert part in text
    links = re.findall(r"\]\(([^)#:]+)[^)]*\)", text)
    assert all((PAGES / link).exists() for link in links), links


def test_the_list_of_pages_is_whole() -> None:
    assert sorted(re.findall(r"\]\((\w+)\.md\)", (PAGES / "README.md").read_text())) == REASONS
