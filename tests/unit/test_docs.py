"""Every link in a page leads somewhere."""

from __future__ import annotations

import functools
import pathlib
import re
import subprocess
import urllib.parse

import pytest

ROOT = pathlib.Path(__file__).parents[2]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.*?)#*$", re.MULTILINE)


def list_pages() -> list[pathlib.Path]:
    shown = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in shown.stdout.split()]


def read_text(page: pathlib.Path) -> str:
    """Without what stands in blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


@functools.cache
def read_anchors(page: pathlib.Path) -> frozenset[str]:
    """As GitHub makes them of headings: lower case, without punctuation, spaces as hyphens."""
    titles = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", one) for one in HEADING.findall(read_text(page))]
    return frozenset(re.sub(r"[^\w\- ]", "", one.strip().lower()).replace(" ", "-") for one in titles)


def find_broken(page: pathlib.Path) -> list[str]:
    """Links within the project that lead nowhere; what is elsewhere is not asked."""
    broken = []
    for match in LINK.finditer(read_text(page)):
        link = urllib.parse.unquote(match[1] or match[2])
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        is_there = target.exists() and target.is_relative_to(ROOT)
        if not is_there or (anchor and target.suffix == ".md" and anchor not in read_anchors(target)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", [pytest.param(one, id=str(one.relative_to(ROOT))) for one in list_pages()])
def test_links(page: pathlib.Path) -> None:
    assert find_broken(page) == []


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        pytest.param("[a](b.md) ![p](p.png) [c](b.md#the-title) [x](https://example.com)", [], id="sound"),
        pytest.param("[a](c.md)", ["c.md"], id="no such page"),
        pytest.param("![p](q.png)", ["q.png"], id="no such picture"),
        pytest.param("[a](b.md#another)", ["b.md#another"], id="no such heading"),
        pytest.param("# Own\n[a](#own) [b](#other)", ["#other"], id="in the page itself"),
        pytest.param("```\n[a](c.md)\n```", [], id="code is no link"),
    ],
)
def test_what_is_broken(
    text: str, broken: list[str], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.unit.test_docs.ROOT", tmp_path)
    (tmp_path / "b.md").write_text("# The title\n")
    (tmp_path / "p.png").write_bytes(b"")
    page = tmp_path / "a.md"
    page.write_text(text)
    assert find_broken(page) == broken
