"""Tutorials are followed literally: every command is run, and what is shown is what is printed."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from gpufleet_sandbox import binaries, kubectl

PAGES = sorted((pathlib.Path(__file__).parents[3] / "docs" / "tutorials").glob("*.md"))
FENCE = re.compile(r"(<!-- not run: [^>]+-->\n)?```(bash|text)\n(.*?)```", re.DOTALL)
BLOCK_LIMIT_S = 300


@dataclasses.dataclass
class Block:
    """Commands, and what the page shows of their output."""

    commands: str
    shown: str = ""


def read_blocks(page: str) -> list[Block]:
    """The blocks in order, without those that the page says are not run."""
    found: list[Block] = []
    for skipped, kind, text in FENCE.findall(page):
        if kind == "bash" and not skipped:
            found.append(Block(text))
        elif kind == "text":
            found[-1].shown = text
    return found


def matches(shown: str, printed: str) -> bool:
    """Whether `printed` is what is shown; `...` stands for anything, and spaces may differ in number."""
    parts = [re.escape(" ".join(part.split())) for part in shown.split("...")]
    return re.fullmatch(r"\s*" + ".*".join(parts) + r"\s*", " ".join(printed.split()), re.DOTALL) is not None


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        pytest.param("a b\n", "a   b\n", True, id="spaces"),
        pytest.param("a ... c", "a b\nb c", True, id="anything"),
        pytest.param("a ... c", "a b", False, id="the end is missing"),
        pytest.param("a", "a b", False, id="more than is shown"),
    ],
)
def test_the_comparison_can_fail(shown: str, printed: str, expected: bool) -> None:
    assert matches(shown, printed) is expected


@pytest.fixture
def surroundings(fleet: kubectl.Kubectl, tmp_path: pathlib.Path) -> dict[str, str]:
    """The reader's machine: the programs on the PATH, and a kubeconfig that may be changed."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("kubectl", "helm"):
        (programs / name).symlink_to(binaries.ensure(name))
    for name in ("gpufleet", "kubectl-gpufleet"):
        (programs / name).symlink_to(pathlib.Path(sys.executable).parent / name)
    config = tmp_path / "kubeconfig"
    shutil.copy(fleet.kubeconfig, config)
    path = f"{programs}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "KUBECONFIG": str(config), "HOME": str(tmp_path)}


@pytest.mark.parametrize("page", [pytest.param(page, id=page.stem) for page in PAGES])
def test_every_command_works_as_shown(
    page: pathlib.Path, surroundings: dict[str, str], tmp_path: pathlib.Path
) -> None:
    folder = tmp_path / "reader"
    folder.mkdir()
    try:
        for block in read_blocks(page.read_text()):
            run = subprocess.run(
                ["bash", "-e", "-o", "pipefail", "-c", f"set -m\n{block.commands}"],
                cwd=folder,
                env=surroundings,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=BLOCK_LIMIT_S,
                check=False,
            )
            print(f"$ {block.commands}{run.stdout}", flush=True)
            assert run.returncode == 0, f"{block.commands}\n{run.stdout}"
            if block.shown:
                assert matches(block.shown, run.stdout), f"{block.commands}\n{run.stdout}"
    finally:
        for left in (("gpool", "tutorial"), ("namespace", page.stem, "tutorial")):
            clean = ["kubectl", "delete", *left, "--ignore-not-found", "--wait=false"]
            subprocess.run(clean, env=surroundings, check=False)
