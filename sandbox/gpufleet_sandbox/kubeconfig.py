"""Kubeconfig files: written with everything embedded, so that a file works wherever it is copied."""

from __future__ import annotations

import base64
import pathlib
from typing import Any

import yaml

from gpufleet_sandbox import certs


def build(
    server: str, authority: pathlib.Path, pair: certs.Pair, *, context: str = "gpufleet"
) -> dict[str, Any]:
    """The kubeconfig of one user of one cluster; `server` is a URL."""
    user = {"client-certificate-data": _encode(pair.certificate), "client-key-data": _encode(pair.key)}
    cluster = {"server": server, "certificate-authority-data": _encode(authority)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": cluster}],
        "users": [{"name": context, "user": user}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "current-context": context,
    }


def write(
    path: pathlib.Path, server: str, authority: pathlib.Path, pair: certs.Pair, *, context: str = "gpufleet"
) -> pathlib.Path:
    """Writes the file whole, readable by its owner only, and returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.touch(mode=0o600)
    part.write_text(yaml.safe_dump(build(server, authority, pair, context=context), sort_keys=False))
    part.replace(path)
    return path


def _encode(path: pathlib.Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
