"""Every reason has its place in the runbook, and the runbook names no other."""

from __future__ import annotations

import pathlib
import re

from gpufleet.decide.mig.repartition import reasons

PAGE = pathlib.Path(__file__).parents[6] / "docs/runbooks/mig/repartition.md"


def test_every_reason_is_explained() -> None:
    rows = [line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    told = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    known = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
    assert told == known
    assert known >= reasons.TROUBLES
