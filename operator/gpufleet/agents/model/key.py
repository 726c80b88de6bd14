"""The key of Triton's model-repository API, which no client has.

Triton waits for it, so it is made before anything that takes time to import.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import secrets

PATH = "/run/gpufleet/key"
VARIABLE = "GPUFLEET_AGENT_KEY"


def ensure(path: pathlib.Path) -> str:
    """Made once, so that an agent that restarts still has the one that Triton was given."""
    with contextlib.suppress(FileNotFoundError):
        return path.read_text()
    part = path.with_suffix(".part")
    part.write_text(secrets.token_hex(32))
    part.chmod(0o400)
    os.replace(part, path)
    return path.read_text()
