"""The API server by way of `kubectl proxy` on a Unix socket in a folder of our own.

It starts in a fraction of the time that the Python client needs, and knows every way to log in that the
user's kubectl knows. Where there is no kubectl, the Python client does the same.
"""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator

import click

from gpufleet.cli import reach


@contextlib.contextmanager
def opened(context: str | None, kubectl: str | None = None) -> Iterator[reach.Get]:
    """Asks the API server of this context while the body runs; kubectl is started by the first question.

    What is yielded raises click.ClickException where there is no cluster, and reach.UnreachableError where it
    does not answer.
    """
    program = kubectl or shutil.which("kubectl")
    if program is None or not hasattr(socket, "AF_UNIX"):
        yield lambda url: reach.Cluster(context).get(url)
        return
    with tempfile.TemporaryDirectory(prefix="gpufleet-") as folder:
        door = _Door(program, context, pathlib.Path(folder))
        try:
            yield door.get
        finally:
            door.close()


class _Door:
    """kubectl proxy, from the first question until `close`."""

    def __init__(self, program: str, context: str | None, folder: pathlib.Path) -> None:
        self._path, self._errors = folder / "api", folder / "errors"
        self._argv = [program, "proxy", "--unix-socket", str(self._path)]
        self._argv += ["--context", context] if context else []
        self._process: subprocess.Popen[str] | None = None

    def get(self, url: str) -> tuple[int, bytes]:
        starts = self._process is None
        if self._process is None:
            # It tells of every failure: a pipe that nobody reads would be full after a while.
            with self._errors.open("w") as errors:
                # In a session of its own, so that Ctrl-C reaches the command alone, which then ends it.
                self._process = subprocess.Popen(
                    self._argv, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
                )
        from gpufleet.cli import unixsocket

        if starts:
            self._wait(self._process)
        return unixsocket.get(self._path, url)

    def close(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.communicate()

    def _wait(self, process: subprocess.Popen[str]) -> None:
        """Returns once it listens: it says so in one line. Raises click.ClickException with its own words."""
        if process.stdout is not None and not process.stdout.readline():
            process.wait()
            said = self._errors.read_text(errors="replace").strip().removeprefix("error: ")
            raise click.ClickException(f"no cluster: {said or 'kubectl proxy has ended'}")
