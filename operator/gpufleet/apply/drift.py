"""Does a live object still say what was applied? So that an unchanged fleet costs no write."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from gpufleet.state import names

_ATOMIC = frozenset({"selector", "nodeSelector"})
"""Maps that server-side apply replaces as a whole: a key that somebody added changes their meaning."""


def compute_hash(manifest: Mapping[str, Any]) -> str:
    """Stands for a manifest as it was applied; a field that is no longer wanted changes it."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]


def is_applied(manifest: Mapping[str, Any], live: Mapping[str, Any]) -> bool:
    """Whether `live` came from this very manifest and nobody has changed a field of it since."""
    annotations = live["metadata"].get("annotations") or {}
    return annotations.get(names.APPLIED_HASH) == compute_hash(manifest) and contains(live, manifest)


def contains(live: Any, wanted: Any) -> bool:
    """Whether every field of `wanted` is in `live` with its value; `live` may have more fields.

    Lists must have the same length: an item added by hand is a change.
    """
    if isinstance(wanted, Mapping):
        if not isinstance(live, Mapping):
            return False
        return all(key in live and _agrees(key, live[key], value) for key, value in wanted.items())
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        if not isinstance(live, Sequence) or isinstance(live, str) or len(live) != len(wanted):
            return False
        return all(contains(one, other) for one, other in zip(live, wanted, strict=True))
    return bool(live == wanted)


def _agrees(key: str, live: Any, wanted: Any) -> bool:
    return bool(live == wanted) if key in _ATOMIC else contains(live, wanted)
