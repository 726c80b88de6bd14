"""A pair: two configurations one field apart, of which Triton loads one, and so do we."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from gpufleet.api.triton import model
from tests.builders_api import merged

Wire = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Pair:
    """Models of one service; the last one is judged, those before it are what it is made of.

    `ours` are words of our message, `triton` is a pattern of Triton's. Without a pattern Triton takes the bad
    one as well, and `why` says why we do not.
    """

    name: str
    good: tuple[Wire, ...]
    bad: tuple[Wire, ...]
    ours: tuple[str, ...]
    triton: str | None
    why: str = ""


def parse(models: Sequence[Wire]) -> list[model.Model]:
    return [model.Model.model_validate(one) for one in models]


def tensor(name: str, dims: Sequence[int] = (4,), data_type: str = "FP32", **more: Any) -> Wire:
    return {"name": name, "dataType": data_type, "dims": list(dims), **more}


def make(**changes: Any) -> Wire:
    """A python model that loads, with these fields laid over it."""
    base = {
        "name": "m",
        "backend": "python",
        "maxBatchSize": 8,
        "inputs": [tensor("X")],
        "outputs": [tensor("Y")],
        "instanceGroups": [{"kind": "CPU"}],
    }
    return merged(base, changes)


def pair(name: str, good: Wire, bad: Wire, ours: Sequence[str], triton: str | None, *, why: str = "") -> Pair:
    return Pair(name, (make(**good),), (make(**bad),), tuple(ours), triton, why)


def x(*args: Any, **more: Any) -> Wire:
    return {"inputs": [tensor("X", *args, **more)]}


def y(*args: Any, **more: Any) -> Wire:
    return {"outputs": [tensor("Y", *args, **more)]}
