"""Every reason has its row in the runbook."""

from __future__ import annotations

import pathlib
import re

from gpufleet.decide.mig import rightsizing
from gpufleet.decide.placement.slices import judging

PAGE = pathlib.Path(__file__).parents[6] / "docs/runbooks/mig/README.md"


def test_every_reason_is_explained() -> None:
    told = set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE))
    known = {value for name, value in vars(judging).items() if name.isupper() and isinstance(value, str)}
    assert told == known
    sizing = [value for name, value in vars(rightsizing).items() if name.isupper() and isinstance(value, str)]
    assert known.isdisjoint(sizing)
