"""What Triton has counted of a model, since its last load and not longer ago than the window."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from prometheus_client import parser

from gpufleet.state import models

_MEMORY_USED = "nv_gpu_memory_used_bytes"
_SUMMARY = "nv_inference_request_summary_us"
_PERCENTILES = {0.5: "P50", 0.9: "P90", 0.95: "P95", 0.99: "P99"}
_NS_PER_US = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class Counters:
    """Totals since the model was loaded; `batches` has (number, nanoseconds) by size."""

    requests: int = 0
    failures: int = 0
    batches: Mapping[int, tuple[int, int]] = dataclasses.field(default_factory=dict)


class Window:
    """The last samples of one model's counters."""

    def __init__(self, length_s: float) -> None:
        self._length_s = length_s
        self._samples: collections.deque[tuple[float, Counters]] = collections.deque()

    def add(self, now_s: float, sample: Counters) -> None:
        """Counters that fall belong to a copy that was loaded since: what was before is forgotten."""
        if self._samples and sample.requests < self._samples[-1][1].requests:
            self._samples.clear()
        if not self._samples:
            self._samples.append((now_s, Counters() if sample.requests == 0 else sample))
        self._samples.append((now_s, sample))
        while len(self._samples) > 2 and now_s - self._samples[1][0] >= self._length_s:
            self._samples.popleft()

    def clear(self) -> None:
        """Forgets all: the model was loaded anew."""
        self._samples.clear()

    def read(self, latency_us: Mapping[str, int]) -> models.Measured:
        """What came between the oldest and the newest sample."""
        if not self._samples:
            return models.Measured(0)
        (first_s, old), (last_s, new) = self._samples[0], self._samples[-1]
        return models.Measured(
            window_s=int(last_s - first_s),
            requests=new.requests - old.requests,
            failures=max(0, new.failures - old.failures),
            batches=_subtract(new.batches, old.batches),
            latency_us=dict(latency_us),
        )


def _subtract(
    new: Mapping[int, tuple[int, int]], old: Mapping[int, tuple[int, int]]
) -> tuple[models.BatchTime, ...]:
    found = []
    for size, (count, total_ns) in sorted(new.items()):
        count_before, ns_before = old.get(size, (0, 0))
        if count > count_before:
            took_us = (total_ns - ns_before) // _NS_PER_US
            found.append(models.BatchTime(size, count - count_before, took_us))
    return tuple(found)


def read_counters(statistics: Mapping[str, Any], model: str) -> Counters:
    """The counters of all versions of a model in Triton's statistics, as JSON of its gRPC protocol."""
    versions = [one for one in statistics.get("model_stats", ()) if one["name"] == model]
    batches: dict[int, tuple[int, int]] = {}
    for version in versions:
        for one in version.get("batch_stats", ()):
            size = int(one["batch_size"])
            count, total_ns = batches.get(size, (0, 0))
            parts = (one.get(part, {}) for part in ("compute_input", "compute_infer", "compute_output"))
            took_ns = sum(int(part.get("ns", 0)) for part in parts)
            batches[size] = count + int(one.get("compute_infer", {}).get("count", 0)), total_ns + took_ns

    def total(what: str) -> int:
        stats = (version.get("inference_stats", {}).get(what, {}) for version in versions)
        return sum(int(one.get("count", 0)) for one in stats)

    return Counters(total("success"), total("fail"), batches)


def read_latencies(exposition: str, model: str) -> dict[str, int]:
    """Latency by percentile in microseconds, the slowest version's, from Triton's metrics.

    A quantile without requests in the last minute is NaN there and left out here.
    """
    found: dict[str, int] = {}
    for family in parser.text_string_to_metric_families(exposition):
        for sample in family.samples:
            if sample.name != _SUMMARY or sample.labels.get("model") != model:
                continue
            percentile = _PERCENTILES.get(float(sample.labels.get("quantile", "nan")))
            if percentile and not math.isnan(sample.value):
                found[percentile] = max(found.get(percentile, 0), round(sample.value))
    return found


def read_memory_mib(exposition: str) -> int | None:
    """Memory in use on the fullest device that Triton sees; None where it sees none."""
    used = [
        sample.value
        for family in parser.text_string_to_metric_families(exposition)
        for sample in family.samples
        if sample.name == _MEMORY_USED and not math.isnan(sample.value)
    ]
    return round(max(used) / 2**20) if used else None
