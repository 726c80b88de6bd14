"""What programs say about their end: error files, and the last lines of a log."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Sequence
from importlib import resources

import yaml

TAIL = 800
"""Characters of a log that a message carries."""
ECHO = "Echo"
_MESSAGE = re.compile(r'"message":\s*"((?:[^"\\]|\\.)*)"')


@dataclasses.dataclass(frozen=True, slots=True)
class Signature:
    """What a text stands for, and what would help."""

    kind: str
    pattern: re.Pattern[str]
    fix: str
    last_line: bool


@functools.cache
def known() -> Sequence[Signature]:
    """From signatures.yaml, in its order."""
    text = resources.files("gpufleet.decide.training").joinpath("signatures.yaml").read_text("utf-8")
    return tuple(
        Signature(one["class"], re.compile(one["pattern"]), one["fix"], one.get("lastLine", False))
        for one in yaml.safe_load(text)
    )


def find(text: str) -> Signature | None:
    """The first signature that the text bears."""
    end = text.rstrip().rpartition("\n")[2]
    return next((one for one in known() if one.pattern.search(end if one.last_line else text)), None)


def read_error(termination_message: str) -> str:
    """The error in one piece, its end where it is long.

    torchrun writes JSON into TORCHELASTIC_ERROR_FILE (torch.distributed.elastic.multiprocessing.errors); the
    kubelet cuts it at 4096 bytes, so that it may not parse.
    """
    text = termination_message.strip()
    if text.startswith("{"):
        text = _read_json(text) or text
    return text if len(text) <= TAIL else "…" + text[-TAIL:]


def _read_json(text: str) -> str:
    try:
        said = json.loads(text).get("message", "")
    except (ValueError, AttributeError):
        found = _MESSAGE.search(text)
        return found[1] if found else ""
    if isinstance(said, dict):
        said = said.get("message", "")
    return said.strip() if isinstance(said, str) else ""
