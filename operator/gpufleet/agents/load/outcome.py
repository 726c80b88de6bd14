"""What came of a run: counts, errors and latencies."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

QUANTILES = (0.5, 0.9, 0.95, 0.99)
_ERRORS_SHOWN = 5


@dataclasses.dataclass
class Outcome:
    """Latencies are those of requests that succeeded, in milliseconds, the client's own time included."""

    sent: int = 0
    failed: int = 0
    retried: int = 0
    errors: Counter[str] = dataclasses.field(default_factory=Counter)
    latencies_ms: list[float] = dataclasses.field(default_factory=list)
    duration_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The summary: throughput of successes per second, quantiles by the nearest rank."""
        done = sorted(self.latencies_ms)
        return {
            "sent": self.sent,
            "failed": self.failed,
            "retried": self.retried,
            "throughput": round(len(done) / self.duration_s, 3) if self.duration_s else 0.0,
            "seconds": round(self.duration_s, 3),
            "latencyMilliseconds": {
                f"p{quantile * 100:g}": round(find_quantile(done, quantile), 3) for quantile in QUANTILES
            }
            | {"mean": round(sum(done) / len(done), 3) if done else math.nan},
            "errors": dict(self.errors.most_common(_ERRORS_SHOWN)),
        }


def find_quantile(in_order: Sequence[float], quantile: float) -> float:
    """The value at the nearest rank of sorted values; NaN where there are none."""
    if not in_order:
        return math.nan
    return in_order[max(0, math.ceil(quantile * len(in_order)) - 1)]
