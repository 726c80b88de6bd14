"""One way to run the system's small tools, with errors that name the command and what it said."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence

from gpufleet_sandbox import provider

Word = str | os.PathLike[str]


class CommandError(provider.NodeError):
    """A command could not be found or ended with an error."""


def run(argv: Sequence[Word], *, stdin: str | None = None, timeout_s: float = 60.0) -> str:
    """The command's standard output. Raises CommandError with its standard error."""
    done = attempt(argv, stdin=stdin, timeout_s=timeout_s)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise CommandError(f"`{shlex.join(done.args)}` ended with {done.returncode}: {said}")
    return done.stdout


def attempt(
    argv: Sequence[Word], *, stdin: str | None = None, timeout_s: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end, whatever the exit code. Raises CommandError where it cannot run."""
    words = [os.fspath(word) for word in argv]
    source = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, check=False, **source)
    except FileNotFoundError as error:
        raise CommandError(f"{words[0]} is not installed or not in PATH") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"`{shlex.join(words)}` did not end within {timeout_s:.0f} s") from error
