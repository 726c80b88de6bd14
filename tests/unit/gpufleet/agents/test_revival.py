from __future__ import annotations

import pytest

from gpufleet.agents.model import revival


@pytest.mark.parametrize(
    ("totals", "revived_at"),
    [
        pytest.param([(at, at, 0) for at in range(0, 60, 5)], [], id="it answers"),
        pytest.param([(at, 7, 0) for at in range(0, 60, 5)], [], id="nobody asks"),
        pytest.param([(at, at, at) for at in range(0, 60, 5)], [], id="some fail"),
        pytest.param([(0, 7, 0), (5, 7, 1), (60, 7, 2), (90, 7, 3)], [], id="too few to say"),
        pytest.param([(at, 7, at) for at in range(0, 20, 5)], [10], id="all fail for a while"),
        pytest.param([(0, 0, 900), (5, 0, 902), (30, 0, 904)], [], id="what was before the first look"),
        pytest.param([(0, 7, 0), (5, 7, 50), (9, 8, 60), (14, 8, 70)], [], id="it came back by itself"),
        pytest.param([(at, 7, at) for at in range(0, 80, 5)], [10, 40], id="again, after a pause"),
        pytest.param(
            [(at, 7, at) for at in range(0, 600, 5)], [10, 40, 100, 220, 460], id="more and more seldom"
        ),
    ],
)
def test_when_a_model_is_loaded_again(totals: list[tuple[int, int, int]], revived_at: list[int]) -> None:
    record = revival.Record()
    assert [at for at, good, bad in totals if record.note(good, bad, at)] == revived_at


def test_a_copy_that_answers_ends_the_pauses() -> None:
    record = revival.Record()
    assert [at for at in range(0, 60, 5) if record.note(7, at, at)] == [10, 40]
    assert not record.note(0, 0, 60), "counters begin anew with the next copy"
    assert not record.note(5, 0, 65)
    assert record.attempts == 0
