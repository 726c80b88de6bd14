"""What is remembered of a service's use of its device."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet.decide.mig import usage
from gpufleet.state import samples


def sample(age_s: float = 1.0, **fields: float) -> samples.PodSample:
    return samples.PodSample(age_s, **fields)


def seen(*looks: list[samples.PodSample], every_s: float = 60.0, device: str = "d") -> usage.Usage:
    known = usage.Usage()
    for number, pods in enumerate(looks, 1):
        known = usage.note(known, device, number, number * every_s, pods)
    return known


@pytest.mark.parametrize(
    ("pods", "share"),
    [
        pytest.param([sample(sm_active=0.42)], 0.45, id="the step above"),
        pytest.param([sample(sm_active=0.0)], 0.05, id="nothing"),
        pytest.param([sample(sm_active=1.3)], 1.0, id="more than all"),
        pytest.param([sample(sm_active=0.1), sample(sm_active=0.8)], 0.8, id="the pod that uses most"),
        pytest.param([sample(sm_active=0.1), sample()], None, id="a pod that is not known"),
        pytest.param([sample(sm_active=0.1), sample(90.0)], 0.1, id="a stale one does not count"),
        pytest.param([sample(90.0, sm_active=0.1)], None, id="all stale"),
        pytest.param([], None, id="no pod"),
    ],
)
def test_a_look(pods: list[samples.PodSample], share: float | None) -> None:
    assert seen(pods).share("sm", 95) == share


def test_a_percentile_is_that_of_the_looks() -> None:
    known = seen(*[[sample(sm_active=0.2)]] * 94, *[[sample(sm_active=0.9)]] * 6)
    assert [known.share("sm", one) for one in (50, 94, 95, 100)] == [0.2, 0.2, 0.9, 0.9]


def test_a_look_counts_once_and_memory_is_the_most() -> None:
    known = seen([sample(sm_active=0.2, fb_used_mib=900.0, latency_s=0.2)], [sample(fb_used_mib=700.0)])
    again = usage.note(known, "d", 2, 121.0, [sample(sm_active=0.2)])
    assert again == known
    assert (known.looks("sm"), known.memory_mib, known.latency_s, known.minutes) == (1, 900.0, 0.2, 2)


def test_another_device_begins_anew() -> None:
    known = usage.note(seen([sample(sm_active=0.9)]), "other", 2, 120.0, [sample(sm_active=0.1)])
    assert (known.share("sm", 100), known.minutes) == (0.1, 1)


def test_a_day_is_remembered_and_no_more() -> None:
    known = seen(*[[sample(sm_active=0.9)]] * 10, *[[sample(sm_active=0.1)]] * 24, every_s=3600.0)
    assert (len(known.hours), known.share("sm", 100)) == (24, 0.1)
    assert known.last(2).looks("sm") == 2


@given(st.lists(st.floats(0, 1.5), min_size=1, max_size=50), st.floats(1, 100))
def test_a_share_is_never_less_than_what_was_seen(shares: list[float], percentile: float) -> None:
    known = seen(*[[sample(sm_active=one)] for one in shares])
    found = known.share("sm", percentile)
    below = sum(min(one, 1.0) <= (found or 0) + 1e-9 for one in shares)
    assert below >= percentile / 100 * len(shares) - 1e-9
