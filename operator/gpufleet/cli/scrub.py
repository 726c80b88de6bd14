"""Takes out of objects and texts what may be secret, and rather too much than too little; pure.

What people put into environment variables and annotations nobody can judge: it goes, whatever it is. What was
taken out of one place and is no plain word is looked for in all others, such as logs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

REMOVED = "[removed]"

KEPT_ANNOTATIONS = (
    "gpufleet.dev/",
    "nvidia.com/",
    "deployment.kubernetes.io/revision",
    "batch.kubernetes.io/",
)
"""Annotations that begin so are gpufleet's, Kubernetes' or NVIDIA's own words."""
SHORTEST = 6
"""A shorter value is not looked for elsewhere: it stands in too many words."""

_SECRET = r"(?:passwords?|passwd|pwd|tokens?|secrets?|credentials?|(?:api|access|private|auth)[-_]?keys?)"
_IS_SECRET = re.compile(rf"{_SECRET}$", re.IGNORECASE)
_IS_PLAIN = re.compile(r"[A-Za-z._/-]*|[0-9.]*")
_OWN_ENV = "GPUFLEET_"
"""Variables that the chart sets: they go, and hold no secret that would have to be looked for."""
_WORD = r"(?:\"[^\"]*\"|'[^']*'|[^\s,;&\"']+)"
_TEXTS = (
    # user:password@ of a URL.
    (re.compile(r"(?<=://)[^\s/@]+@"), f"{REMOVED}@"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"), REMOVED),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*KEY-----|$)", re.S), REMOVED),
    (re.compile(r"\b([Bb]earer|Basic)\s+[\w.~+/=-]{8,}"), rf"\1 {REMOVED}"),
    (re.compile(rf"({_SECRET}[\"']?\s*[=:]\s*){_WORD}", re.IGNORECASE), rf"\1{REMOVED}"),
    (re.compile(rf"(--?[\w-]*{_SECRET}\s+)[^\s-]\S*", re.IGNORECASE), rf"\1{REMOVED}"),
)
_DROPPED = ("managedFields", "stringData", "binaryData")


def scrub(value: Any, found: set[str]) -> Any:
    """A JSON value without secrets; values that were taken out are added to `found`."""
    if isinstance(value, str):
        return scrub_text(value)
    if isinstance(value, list):
        return _scrub_list(value, found)
    if not isinstance(value, dict):
        return value
    secret = value.get("kind") in ("Secret", "ConfigMap")
    kept: dict[str, Any] = {}
    for key, one in value.items():
        if key in _DROPPED or (secret and key == "data"):
            continue
        if key == "annotations" and isinstance(one, dict):
            kept[key] = {name: scrub(text, found) for name, text in one.items() if _is_kept(name)}
        elif key == "env":
            kept[key] = _scrub_env(one, found)
        elif isinstance(one, str) and _IS_SECRET.search(key):
            kept[key] = _remove(one, found)
        else:
            kept[key] = scrub(one, found)
    return kept


def scrub_text(text: str) -> str:
    """A text without what looks like a secret."""
    for pattern, replacement in _TEXTS:
        text = pattern.sub(replacement, text)
    return text


def forgetting(found: Iterable[str]) -> Callable[[Any], Any]:
    """What takes these values out of a text, or of all texts within a JSON value."""
    wanted = sorted(set(_spellings(found)), key=lambda one: (-len(one), one))
    pattern = re.compile("|".join(map(re.escape, wanted)) or "(?!)")

    def forget(value: Any) -> Any:
        if isinstance(value, str):
            return pattern.sub(REMOVED, value)
        if isinstance(value, list):
            return [forget(one) for one in value]
        if isinstance(value, dict):
            return {key: forget(one) for key, one in value.items()}
        return value

    return forget


def _spellings(found: Iterable[str]) -> Iterator[str]:
    """A value as it is, its lines, and both as JSON writes them, which logs are."""
    for value in found:
        for one in (value, *value.splitlines()):
            if len(text := one.strip()) >= SHORTEST:
                yield text
                yield text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")


def _scrub_list(listed: list[Any], found: set[str]) -> list[Any]:
    """What follows a flag such as --token is its value."""
    kept: list[Any] = []
    for number, one in enumerate(listed):
        before = listed[number - 1] if number else None
        follows = isinstance(before, str) and before.startswith("-") and _IS_SECRET.search(before)
        kept.append(_remove(one, found) if follows and isinstance(one, str) else scrub(one, found))
    return kept


def _scrub_env(env: Any, found: set[str]) -> Any:
    """Names and references stay."""
    if isinstance(env, dict):
        return {name: _remove_env(name, value, found) for name, value in env.items()}
    if not isinstance(env, list) or not all(isinstance(one, dict) for one in env):
        return REMOVED
    return [
        {**one, "value": _remove_env(str(one.get("name")), one["value"], found)}
        if one.get("value") is not None
        else one
        for one in env
    ]


def _remove_env(name: str, value: Any, found: set[str]) -> str:
    is_secret = _IS_SECRET.search(name) is not None
    if is_secret or not (name.startswith(_OWN_ENV) or _IS_PLAIN.fullmatch(str(value))):
        found.add(str(value))
    return REMOVED


def _remove(value: str, found: set[str]) -> str:
    found.add(value)
    return REMOVED


def _is_kept(annotation: str) -> bool:
    return annotation.startswith(KEPT_ANNOTATIONS)
