"""Merging conditions: transition times stay while the status stays."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from gpufleet.api import meta

MESSAGE_LIMIT = 1024


def condition(
    type_: str, status: bool | None, reason: str, message: str, *, generation: int, now: datetime.datetime
) -> meta.Condition:
    """A condition observed now; `None` is Unknown, a long message is cut."""
    text = message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 1] + "…"
    return meta.Condition(
        type=type_,
        status="Unknown" if status is None else ("True" if status else "False"),
        reason=reason,
        message=text,
        observed_generation=generation,
        last_transition_time=now.replace(microsecond=0),
    )


def merge(old: Sequence[meta.Condition], new: Sequence[meta.Condition]) -> list[meta.Condition]:
    """`new`, each with the transition time of its namesake in `old` where the status is the same."""
    before = {condition.type: condition for condition in old}
    return [
        (
            fresh.model_copy(update={"last_transition_time": before[fresh.type].last_transition_time})
            if fresh.type in before and before[fresh.type].status == fresh.status
            else fresh
        )
        for fresh in new
    ]
