"""How often something may be done."""

from __future__ import annotations


class TokenBucket:
    """Spreads requests: `rate_per_s` on average, `burst` at once (generic cell rate algorithm)."""

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self._interval_s = 1 / rate_per_s
        self._burst_s = burst / rate_per_s
        self._next_s = float("-inf")

    def reserve(self, now_s: float) -> float:
        """Takes one token; seconds to wait before it may be used."""
        self._next_s = max(self._next_s, now_s - self._burst_s) + self._interval_s
        return max(0.0, self._next_s - now_s)
