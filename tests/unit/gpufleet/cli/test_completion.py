"""Shells and kubectl that really ask what may come next."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest
from click import testing

from gpufleet.cli import completion, main
from gpufleet_sandbox import binaries

BIN = pathlib.Path(sys.executable).parent


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        pytest.param(["snap"], ["snapshot", ":4"], id="a command"),
        pytest.param(["top", "--by", ""], ["use", "namespace", ":4"], id="a choice"),
        pytest.param(["status", "--operator-n"], ["--operator-namespace\tWhere the", ":4"], id="an option"),
        pytest.param(["mig", "lay"], ["layouts\tPrint every", ":4"], id="of a group"),
        pytest.param(["snapshot", "-f", "x"], [":0"], id="a file"),
        pytest.param(["nothing-like-it"], [":4"], id="nothing"),
        pytest.param([], ["agent"], id="no word at all"),
    ],
)
def test_what_may_come(words: list[str], lines: list[str]) -> None:
    found = list(completion.find(words))
    assert all(one.startswith(wanted) for one, wanted in zip(found, lines, strict=False))
    assert found[-1].startswith(":")


def test_kubectl_completes_its_plugin(tmp_path: pathlib.Path) -> None:
    kubectl = binaries.ensure("kubectl")
    env = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "KUBECONFIG": str(tmp_path / "none")}
    argv = [str(kubectl), "__complete", "gpufleet", "stat"]
    shown = subprocess.run(argv, env=env, capture_output=True, text=True, check=True, timeout=120).stdout
    assert shown.splitlines() == ["status", ":4"]


def test_bash_completes() -> None:
    script = (
        "source <(gpufleet completion bash); COMP_WORDS=(gpufleet snap); COMP_CWORD=1; "
        '_gpufleet_completion gpufleet; echo "${COMPREPLY[@]}"'
    )
    env = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    found = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, timeout=120)
    assert found.stdout.split() == ["snapshot"], found.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_script(shell: str) -> None:
    found = testing.CliRunner().invoke(main.main, ["completion", shell])
    assert found.exit_code == 0, found.output
    assert f"_GPUFLEET_COMPLETE={shell}_complete" in found.output


def test_names_are_completed_without_loading_commands() -> None:
    code = (
        "import sys; from gpufleet.cli import completion; list(completion.find([''])); "
        "print(sorted({'pydantic', 'kubernetes', 'msgspec'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"
