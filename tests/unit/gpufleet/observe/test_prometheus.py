"""The sampler without a server; tests/integration/prometheus has it against real ones."""

from __future__ import annotations

from gpufleet import settings
from gpufleet.observe import prometheus
from gpufleet.state import samples


async def test_without_a_prometheus_the_reason_is_told_once() -> None:
    looks: list[samples.Look] = []
    await prometheus.Sampler(settings.Settings(), looks.append).run()
    assert [(one.number, one.error) for one in looks] == [(1, prometheus.NOT_CONFIGURED)]
