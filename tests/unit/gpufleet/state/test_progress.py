from __future__ import annotations

import datetime

from hypothesis import given
from hypothesis import strategies as st

from gpufleet.state import progress
from tests.builders import NOW


def at(seconds: float) -> datetime.datetime:
    return NOW + datetime.timedelta(seconds=seconds)


def take(*steps: int | None) -> progress.Progress:
    """One report, or silence, every ten seconds."""
    known = progress.Progress(asked_s=0, moved_s=0)
    for index, step in enumerate(steps):
        report = None if step is None else progress.Report(step)
        known = known.take(report, at(10.0 * index), 10.0 * index)
    return known


def test_only_a_new_step_is_a_move() -> None:
    known = take(1, 2, 2, 2)
    assert (known.still_s, known.reported_at) == (20, at(30))


def test_silence_is_no_move() -> None:
    known = take(1, 2, None, None)
    assert (known.still_s, known.reported_at, known.newest) == (20, at(10), progress.Report(2))
    assert take(None, None).still_s == 10


def test_a_step_that_went_back_begins_anew() -> None:
    known = take(5, 9, 3, 4)
    assert (known.first, known.first_s, known.moved_s) == (progress.Report(3), 20, 30)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_it_moved_when_the_step_was_first_seen(steps: list[int]) -> None:
    known = take(*steps)
    same = 1
    while same < len(steps) and steps[-same - 1] == steps[-1]:
        same += 1
    assert known.moved_s == 10.0 * (len(steps) - same)
    assert known.first is not None
    assert known.first.step <= steps[-1]
