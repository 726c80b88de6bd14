from __future__ import annotations

import pathlib
import sys

import click
import pytest

from gpufleet.cli import door, reach

# What kubectl proxy does with its socket, for a test without a cluster.
PROXY = """#!{python}
import http.server, socketserver, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        code = 502 if self.path == "/gone" else 200
        body = b"connection refused" if code == 502 else ("asked " + self.path).encode()
        self.send_response(code); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def address_string(self): return ""
    def log_message(self, *_): pass
server = socketserver.UnixStreamServer(sys.argv[sys.argv.index("--unix-socket") + 1], Handler)
print("Starting to serve", flush=True)
server.serve_forever()
"""


def write(folder: pathlib.Path, text: str) -> str:
    path = folder / "kubectl"
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_kubectl_is_asked_and_ends_with_the_command(tmp_path: pathlib.Path) -> None:
    kubectl = write(tmp_path, PROXY.replace("{python}", sys.executable))
    with door.opened(None, kubectl) as get:
        assert get("/api") == (200, b"asked /api")
        with pytest.raises(reach.UnreachableError, match="connection refused"):
            get("/gone")
    with pytest.raises(reach.UnreachableError, match="does not answer"):
        get("/api")


def test_kubectls_own_words_are_told(tmp_path: pathlib.Path) -> None:
    kubectl = write(tmp_path, '#!/bin/sh\necho "error: context \\"x\\" does not exist" >&2\nexit 1\n')
    with (
        door.opened("x", kubectl) as get,
        pytest.raises(click.ClickException, match='no cluster: context "x" does not exist'),
    ):
        get("/api")


def test_who_asks_nothing_starts_nothing(tmp_path: pathlib.Path) -> None:
    with door.opened(None, str(tmp_path / "there is none")):
        pass
