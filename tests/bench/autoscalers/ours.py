"""gpufleet's own autoscaler as the benchmark runs it: the knob that is swept, and its default."""

from __future__ import annotations

from gpufleet.sim import autoscaler

UNIT = "requests/s per server"
TARGETS = (4, 6, 8, 9, 10, 11, 13, 15)
DEFAULT = 11


def make(target: float, low: int, high: int, places: int, replicas: int) -> autoscaler.Shipped:
    """With this value of the knob."""
    targets = [{"signal": "RequestRate", "value": target}]
    spec = {"autoscaling": {"minReplicas": low, "maxReplicas": high, "targets": targets}}
    return autoscaler.Shipped(spec, places, replicas)
