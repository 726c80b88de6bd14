"""The API server by way of `kubectl proxy` on a Unix socket in a folder of our own.

It starts in a fraction of the time that the Python client needs, and knows every way to log in that the
user's kubectl knows. Where there is no kubectl, the Python client does the same.
"""

from __future__ import annotations

import contextlib
import http.client
import pathlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator

import click

from gpufleet.cli import reach

TIMEOUT_S = 30.0
"""Limit of one answer: a snapshot of a large fleet is tens of MB."""


@contextlib.contextmanager
def opened(context: str | None, kubectl: str | None = None) -> Iterator[reach.Get]:
    """Asks the API server of this context while the body runs. Raises click.ClickException."""
    program = kubectl or shutil.which("kubectl")
    if program is None or not hasattr(socket, "AF_UNIX"):
        yield reach.Cluster(context).get
        return
    with tempfile.TemporaryDirectory(prefix="gpufleet-") as folder:
        path = pathlib.Path(folder, "api")
        chosen = ["--context", context] if context else []
        argv = [program, "proxy", "--unix-socket", str(path), *chosen]
        process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            _wait(process)
            yield _Door(path).get
        finally:
            process.terminate()
            process.communicate()


def _wait(process: subprocess.Popen[str]) -> None:
    """Returns once it listens: it says so in one line. Raises click.ClickException with its own words."""
    if process.stdout is not None and not process.stdout.readline():
        said = process.communicate()[1].strip()
        raise click.ClickException(f"no cluster: {said.removeprefix('error: ') or 'kubectl proxy has ended'}")


class _Door:
    """HTTP over the socket, one connection a request."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path

    def get(self, url: str) -> tuple[int, bytes]:
        """HTTP status and body, whatever they are. Raises reach.UnreachableError where nothing answers."""
        connection = _Connection(self._path)
        try:
            connection.request("GET", url)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise reach.UnreachableError(f"the API server does not answer: {error}") from error
        finally:
            connection.close()
        # The proxy's own words, where it reaches nobody, are no JSON.
        if response.status == http.client.BAD_GATEWAY and not body.startswith(b"{"):
            raise reach.UnreachableError(
                f"the API server does not answer: {body.decode(errors='replace').strip()}"
            )
        return response.status, body


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: pathlib.Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
