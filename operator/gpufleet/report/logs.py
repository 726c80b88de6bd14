"""JSON logs on standard error: one object a line, for kopf's records too."""

from __future__ import annotations

import logging
import sys

from pythonjsonlogger import json as json_logs

_FIELDS = "{asctime}{levelname}{name}{message}"


def configure(level: str) -> None:
    """Sends everything from `level` up to standard error. Raises ValueError for an unknown level."""
    handler = logging.StreamHandler(sys.stderr)
    names = {"asctime": "time", "levelname": "level", "name": "logger"}
    handler.setFormatter(json_logs.JsonFormatter(_FIELDS, style="{", rename_fields=names))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Every watch event is a debug record of kopf and of the client underneath.
    for noisy in ("kopf", "asyncio", "aiohttp", "kubernetes", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
