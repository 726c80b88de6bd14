"""What others see of a repartition: Events where a reason is new, status where it says something, metrics."""

from __future__ import annotations

import dataclasses
import datetime
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from gpufleet.api import mig_policy
from gpufleet.decide.mig.repartition import reasons, rounds
from gpufleet.report import metrics
from gpufleet.state import decision

COUNTS_EVERY_S = 30.0
"""Shortest time between two writes of a pool's status that tell no new reason."""


def find_events(before: rounds.Round, after: rounds.Round) -> Iterator[tuple[str, decision.Event]]:
    """(pool, Event) for each node on its way, or just at its end, whose reason is another than before."""
    old = {one.node: one for one in before.nodes}
    for one in after.nodes:
        known = old.pop(one.node, None)
        moves = one.phase != "Idle" or (known is not None and known.phase != "Idle")
        is_news = known is None or (known.reason, known.phase) != (one.reason, one.phase)
        if one.pool and is_news and moves and one.reason != reasons.SETTLED:
            yield one.pool, _event(one.reason, one.message)
    for gone in old.values():
        if gone.pool and gone.phase != "Idle":
            said = f"node {gone.node} is gone while it was being changed ({gone.reason})"
            yield gone.pool, _event(reasons.NODE_GONE, said)
    yield from ((pool, event) for event in _of_file(before, after) for pool in _names(after))


def _names(found: rounds.Round) -> list[str]:
    return [one.pool.metadata.name for one in found.pools]


def _of_file(before: rounds.Round, after: rounds.Round) -> Iterator[decision.Event]:
    if after.trouble and after.trouble != before.trouble:
        yield _event(*after.trouble)
    lost = after.file.lost if after.file else frozenset()
    if lost and not (before.file and before.file.lost):
        is_gone = after.file is not None and not after.file.published
        reason = reasons.CONFIG_MAP_DELETED if is_gone else reasons.CONFIG_MAP_EDITED
        said = f"mig-manager's ConfigMap lacks {len(lost)} configurations that nodes follow"
        yield _event(reason, f"{said}; they are written again")


def _event(reason: str, message: str) -> decision.Event:
    return decision.Event("Warning" if reason in reasons.TROUBLES else "Normal", reason, message)


@dataclasses.dataclass
class Teller:
    """Remembers when each pool's status was written, by UID; losing it costs one write."""

    written_s: dict[str, float] = dataclasses.field(default_factory=dict)

    def find_status(
        self, status: mig_policy.MigStatus, old: Mapping[str, Any] | None, uid: str, now: datetime.datetime
    ) -> Mapping[str, Any] | None:
        """What is to be written now; None where it says nothing new, or only counts that may wait."""
        before = mig_policy.MigStatus.model_validate(old or {})
        plan, told = status.plan, before.plan
        if plan is not None:
            same = told is not None and (told.reason, told.message) == (plan.reason, plan.message)
            at = told.at if told and same else now.replace(microsecond=0)
            status = status.model_copy(update={"plan": plan.model_copy(update={"at": at})})
        if old is not None and status == before:
            return None
        now_s = now.timestamp()
        is_news = old is None or _words(status) != _words(before)
        if not is_news and now_s - self.written_s.get(uid, float("-inf")) < COUNTS_EVERY_S:
            return None
        self.written_s[uid] = now_s
        return status.to_wire()


def _words(status: mig_policy.MigStatus) -> tuple[object, ...]:
    plan = status.plan
    return (plan.reason if plan else "", status.nodes_in_flight, tuple(one.reason for one in status.kept_out))


def note(found: rounds.Round) -> None:
    """Sets the gauges; what is no more is gone."""
    metrics.MIG_SLICES.clear()
    for one in found.pools:
        for use in one.status.profiles:
            metrics.MIG_SLICES.labels(use.profile, "used").inc(use.used)
            metrics.MIG_SLICES.labels(use.profile, "free").inc(use.free)
    metrics.MIG_NODES.clear()
    for (phase, reason), number in Counter((one.phase, one.reason) for one in found.nodes).items():
        metrics.MIG_NODES.labels(phase, reason).set(number)
