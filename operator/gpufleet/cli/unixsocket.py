"""HTTP over a Unix socket; apart, because http.client takes as long to load as kubectl does to start."""

from __future__ import annotations

import http.client
import pathlib
import socket

from gpufleet.cli import reach

TIMEOUT_S = 30.0
"""Limit of one answer: a snapshot of a large fleet is tens of MB."""


def get(path: pathlib.Path, url: str) -> tuple[int, bytes]:
    """HTTP status and body, whatever they are. Raises reach.UnreachableError where nothing answers."""
    connection = _Connection(path)
    try:
        connection.request("GET", url)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise reach.UnreachableError(f"the API server does not answer: {error}") from error
    finally:
        connection.close()
    # The proxy's own words, where it reaches nobody, are no JSON.
    if response.status >= http.client.INTERNAL_SERVER_ERROR and not body.startswith(b"{"):
        said = body.decode(errors="replace").strip().partition("\n")[0]
        raise reach.UnreachableError(f"no answer: {said or f'HTTP {response.status}'}")
    return response.status, body


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: pathlib.Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
