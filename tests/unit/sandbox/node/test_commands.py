"""Errors of small tools name the command and what it said."""

from __future__ import annotations

import pytest

from gpufleet_sandbox.node import commands


def test_output_and_input() -> None:
    assert commands.run(["cat"], stdin="text") == "text"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        pytest.param(["sh", "-c", "echo bad >&2; exit 3"], "ended with 3: bad", id="failed"),
        pytest.param(["no-such-program-here"], "no-such-program-here is not installed", id="not there"),
        pytest.param(["sleep", "60"], "did not end within 0 s", id="too slow"),
    ],
)
def test_what_is_said_of_a_failure(argv: list[str], message: str) -> None:
    with pytest.raises(commands.CommandError, match=message):
        commands.run(argv, timeout_s=0.2)
