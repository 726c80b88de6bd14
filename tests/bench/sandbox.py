"""How long a cluster takes: `make bench-sandbox`. Everything is in the cache before the first measurement."""

from __future__ import annotations

import os
import time

from gpufleet_sandbox import local, progress
from tests.bench import report


def measure(nodes: int) -> tuple[float, float]:
    """Seconds of up and of down."""
    provider = local.LocalProvider(f"bench-{os.getpid()}", node_count=nodes, reporter=progress.Reporter())
    started = time.monotonic()
    try:
        provider.up()
        up_s = time.monotonic() - started
    finally:
        started = time.monotonic()
        provider.down()
    return up_s, time.monotonic() - started


def main() -> None:
    measure(2)
    control_s, _ = measure(0)
    up_s, down_s = measure(2)
    rows = [
        report.Row("control plane only, up", control_s, "s", goal=12),
        report.Row("2 nodes, up", up_s, "s", goal=40, baseline=control_s),
        report.Row("2 nodes, down", down_s, "s"),
    ]
    report.finish("sandbox, everything cached", rows)


if __name__ == "__main__":
    main()
