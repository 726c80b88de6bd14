"""The bucket that spreads requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet import ratelimit


@given(st.lists(st.floats(0, 2), min_size=1, max_size=60), st.floats(1, 50), st.floats(1, 20))
def test_the_bucket_never_lets_more_through_than_its_rate(
    gaps: list[float], rate: float, burst: float
) -> None:
    bucket = ratelimit.TokenBucket(rate, burst)
    now_s, used_at = 100.0, []
    for gap in gaps:
        now_s += gap / rate
        used_at.append(now_s + bucket.reserve(now_s))
    assert used_at == sorted(used_at)
    for first in range(len(used_at)):
        for last in range(first, len(used_at)):
            allowed = burst + (used_at[last] - used_at[first]) * rate + 1
            assert last - first + 1 <= allowed + 1e-6


def test_the_bucket_lets_a_burst_through_at_once() -> None:
    bucket = ratelimit.TokenBucket(10, 20)
    waits = [bucket.reserve(0.0) for _ in range(21)]
    assert waits == pytest.approx([0.0] * 20 + [0.1])
