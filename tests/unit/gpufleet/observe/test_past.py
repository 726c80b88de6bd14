"""The historian without a server; tests/integration/prometheus has it against real ones."""

from __future__ import annotations

from gpufleet import settings
from gpufleet.decide.autoscaling import recall
from gpufleet.observe import past


async def test_without_a_prometheus_there_is_no_past() -> None:
    told: list[recall.Past] = []
    await past.Historian(settings.Settings(), told.append).run()
    assert told == []
