"""What an agent that restarts must still know: else it would load again all that the server already has."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Mapping


def read(path: pathlib.Path) -> dict[str, str]:
    """The fingerprint of each model that was loaded; empty where nothing usable was written."""
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(document, dict):
        return {}
    return {str(name): mark for name, mark in document.items() if isinstance(mark, str)}


def write(path: pathlib.Path, loaded: Mapping[str, str]) -> None:
    """Replaces the file as a whole. Raises OSError."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(loaded, sort_keys=True))
    os.replace(part, path)
