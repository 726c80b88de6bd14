"""Away from a terminal progress is plain lines, with times."""

from __future__ import annotations

import io
import re

import pytest
import rich.console

from gpufleet_sandbox import progress


@pytest.fixture(params=[pytest.param(False, id="plain"), pytest.param(True, id="terminal")])
def output(request):
    file = io.StringIO()
    console = rich.console.Console(file=file, force_terminal=request.param, color_system=None)
    return progress.Reporter(console), file


def test_step_ends_with_its_time(output):
    reporter, file = output
    with reporter.step("building x") as step:
        step.set_total(2)
        step.advance()

    assert re.search(r"✓ building x \d+\.\d s", file.getvalue())


def test_failed_step_is_marked(output):
    reporter, file = output
    with pytest.raises(KeyError), reporter.step("building x"):
        raise KeyError

    assert re.search(r"✗ building x after \d+\.\d s", file.getvalue())


def test_fast_step_may_be_silent(output):
    reporter, file = output
    with reporter.step("looking", quiet_below_s=5.0):
        pass

    assert "✓" not in file.getvalue()


def test_steps_nest(output):
    reporter, file = output
    with reporter.step("outer"), reporter.step("inner"):
        pass

    text = file.getvalue()
    assert text.index("✓ inner") < text.index("✓ outer")
