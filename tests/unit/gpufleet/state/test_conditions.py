from __future__ import annotations

import datetime

import pytest

from gpufleet.state import conditions

EARLIER = datetime.datetime(2026, 1, 1, 12, 0, 0, tzinfo=datetime.UTC)
LATER = EARLIER + datetime.timedelta(hours=1)


def make(status: bool | None, reason: str = "R", *, now: datetime.datetime = EARLIER, type_: str = "Ready"):
    return conditions.condition(type_, status, reason, "m", generation=1, now=now)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param([], make(True, now=LATER), LATER, id="first sight: now"),
        pytest.param([make(True)], make(True, now=LATER), EARLIER, id="same status: the old time stays"),
        pytest.param([make(True)], make(True, "Other", now=LATER), EARLIER, id="new reason alone: stays"),
        pytest.param([make(True)], make(False, now=LATER), LATER, id="status flips: now"),
        pytest.param([make(None)], make(False, now=LATER), LATER, id="Unknown to False is a flip"),
        pytest.param(
            [make(True, type_="Stalled")], make(True, now=LATER), LATER, id="another type's time is not ours"
        ),
    ],
)
def test_transition_times(old, new, expected) -> None:
    [merged] = conditions.merge(old, [new])
    assert merged.last_transition_time == expected
    assert (merged.status, merged.reason) == (new.status, new.reason)


def test_merge_drops_conditions_that_are_no_longer_computed() -> None:
    assert [c.type for c in conditions.merge([make(True, type_="Old")], [make(True)])] == ["Ready"]


def test_long_messages_are_cut_and_times_are_whole_seconds() -> None:
    made = conditions.condition(
        "Ready", None, "R", "x" * 5000, generation=3, now=EARLIER.replace(microsecond=7)
    )
    assert made.status == "Unknown"
    assert len(made.message) == conditions.MESSAGE_LIMIT
    assert made.message.endswith("…")
    assert made.last_transition_time == EARLIER
    assert made.to_wire()["lastTransitionTime"] == "2026-01-01T12:00:00Z"
