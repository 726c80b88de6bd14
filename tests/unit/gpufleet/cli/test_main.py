from __future__ import annotations

import subprocess
import sys

import pytest
from click import testing

from gpufleet.cli import main


@pytest.mark.parametrize("command", ["operator", "agent", "simgpu", "explain", "sandbox"])
def test_help_lists_every_command(command: str) -> None:
    result = testing.CliRunner().invoke(main.main, ["--help"])
    assert result.exit_code == 0, result.output
    assert command in result.output


def test_version() -> None:
    assert "0.1.0" in testing.CliRunner().invoke(main.main, ["--version"]).output


def test_unknown_command_is_an_error_that_names_it() -> None:
    result = testing.CliRunner().invoke(main.main, ["fly"])
    assert result.exit_code == 2
    assert "No such command 'fly'" in result.output


def test_help_does_not_load_the_heavy_libraries() -> None:
    code = "import sys, gpufleet.cli.main; print(sorted({'kopf', 'kubernetes', 'grpc'} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"
