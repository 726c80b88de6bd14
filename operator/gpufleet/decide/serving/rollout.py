"""How many servers each revision is to have now: one step of docs/designs/0001-rollout.md.

A step is a function of what the cluster shows, so a restart goes on where it was. Invariants: with Surge
never fewer servers are asked for than before, with DrainFirst never more.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Literal

from gpufleet.api import rollout as rollouts

_LOOK_AGAIN_S = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class Revision:
    """The servers of one pod template.

    `desired` is what its Deployment asks for; `present` counts pods until they are gone, because they hold
    their accelerator so long; `failing` says that the kubelet or the scheduler gave a reason.
    """

    name: str
    desired: int = 0
    ready: int = 0
    present: int = 0
    failing: bool = False

    @property
    def held(self) -> int:
        """Servers that hold an accelerator or soon will."""
        return max(self.desired, self.present)

    @property
    def worth_keeping(self) -> int:
        """Servers that answer or may yet."""
        return self.ready if self.failing else self.held


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """`granted` is the surge with which the cycle `answered` a request; `need` is a server's accelerator."""

    wanted: str
    replicas: int
    revisions: Mapping[str, Revision]
    policy: rollouts.Rollout
    before: rollouts.RolloutStatus | None = None
    answered: str = ""
    granted: int = 0
    need: str = "place"
    draining_frees_it: bool = True
    failure: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """Replicas by revision; a revision that is not listed goes. `serving` are those that ought to answer."""

    replicas: Mapping[str, int]
    serving: frozenset[str]
    status: rollouts.RolloutStatus | None = None
    due_s: float | None = None


def plan(facts: Facts, now: datetime.datetime) -> Step:
    """The next step; the status of a rollout that is over is None."""
    previous = _find_previous(facts)
    if previous is None or facts.replicas == 0:
        return Step({facts.wanted: facts.replicas}, frozenset({facts.wanted}))
    status = _begin(facts, previous)
    if status.phase == "Returned":
        return _go_back(facts, status)
    if status.phase != "Canary":
        status = _choose(facts, status)
    is_announced = facts.before is not None and facts.before.strategy == status.strategy
    if status.phase == "Waiting" or (status.strategy == "DrainFirst" and not is_announced):
        return Step(
            _hold(facts, previous),
            frozenset({previous}),
            status,
            due_s=_LOOK_AGAIN_S if status.strategy else None,
        )
    return _move(facts, status, now)


def step_size(replicas: int, policy: rollouts.Rollout) -> int:
    """Servers that change at a time, at least one."""
    return max(1, -(-replicas * policy.step_percent // 100))


def _find_previous(facts: Facts) -> str | None:
    """The revision to fall back on: that of the rollout under way, else the one with most ready servers."""
    others = {name: one for name, one in facts.revisions.items() if name != facts.wanted}
    if facts.before and facts.before.previous in others:
        return facts.before.previous
    best = max(sorted(others), key=lambda name: others[name].ready, default=None)
    return best if best is not None and others[best].ready else None


def _begin(facts: Facts, previous: str) -> rollouts.RolloutStatus:
    """The rollout as it was, or a new one where something else is asked for now."""
    before, policy = facts.before, facts.policy
    fresh = rollouts.RolloutStatus(
        revision=facts.wanted,
        previous=previous,
        phase="Waiting",
        weight=policy.weight,
        attempt=policy.attempt,
    )
    if before is None or (before.revision, before.attempt) != (facts.wanted, policy.attempt):
        return fresh
    if before.phase == "Returned" or before.weight == policy.weight:
        return before.model_copy(update={"previous": previous})
    return fresh.model_copy(update={"ready_peak": before.ready_peak})


def _choose(facts: Facts, status: rollouts.RolloutStatus) -> rollouts.RolloutStatus:
    """Phase and strategy, with what they mean in a sentence."""
    asked, is_answered = facts.policy.strategy, facts.answered == status.request
    if asked != "DrainFirst" and not is_answered:
        return _wait(status, f"looking for a free {facts.need} for revision {status.revision}")
    if asked != "DrainFirst" and facts.granted:
        return _say(
            status, "Progressing", "Surge", f"revision {status.revision} starts beside {status.previous}"
        )
    if asked == "Surge" or _is_beside_only(facts):
        how = "wait, add capacity, or set rollout.strategy to DrainFirst"
        return _wait(status, f"no free {facts.need} for one more server: {how}")
    if not facts.draining_frees_it:
        lacks = f"no free {facts.need}, and servers of revision {status.previous} do not hold any"
        return _wait(status, f"{lacks}: free or add capacity")
    size = min(step_size(facts.replicas, facts.policy), facts.replicas)
    share = round(100 * size / facts.replicas)
    why = f"no free {facts.need}: " if asked == "Auto" else ""
    lost = f"{size} of {facts.replicas} servers ({share} %) at a time go before their successors are ready"
    return _say(status, "Progressing", "DrainFirst", why + lost)


def _wait(status: rollouts.RolloutStatus, message: str) -> rollouts.RolloutStatus:
    return _say(status.model_copy(update={"progressed_at": None}), "Waiting", "", message)


def _say(
    status: rollouts.RolloutStatus,
    phase: rollouts.Phase,
    strategy: Literal["", "Surge", "DrainFirst"],
    message: str,
) -> rollouts.RolloutStatus:
    return status.model_copy(update={"phase": phase, "strategy": strategy, "message": message})


def _split(facts: Facts) -> tuple[int, int]:
    """Servers that the new revision is to have, and that the old one keeps."""
    weight, replicas = facts.policy.weight, facts.replicas
    if weight in (0, 100):
        return replicas * weight // 100, replicas - replicas * weight // 100
    new = min(max(1, round(replicas * weight / 100)), max(1, replicas - 1))
    return new, max(1, replicas - new)


def _is_beside_only(facts: Facts) -> bool:
    """Whether a canary of a single server needs a second one."""
    return sum(_split(facts)) > facts.replicas


def _hold(facts: Facts, previous: str) -> dict[str, int]:
    """No step while room is being looked for; the revision that serves follows the replicas.

    Where a canary runs beside it there are more than the replicas: that is no reason to let it go.
    """
    found = {name: one.desired for name, one in facts.revisions.items() if name != previous}
    there = min(facts.revisions[previous].desired, facts.replicas)
    return {**found, previous: max(there, facts.replicas - sum(found.values()))}


def _move(facts: Facts, status: rollouts.RolloutStatus, now: datetime.datetime) -> Step:
    goal, kept = _split(facts)
    new = facts.revisions.get(facts.wanted, Revision(facts.wanted))
    if kept == 0 and new.ready >= goal:
        return Step({facts.wanted: goal}, frozenset({facts.wanted}))
    status = _note_progress(facts, status, now)
    if status.phase == "Returned":
        # Once its pods are gone nobody can say any more why it failed: that is written first.
        as_it_is = {name: one.desired for name, one in facts.revisions.items()}
        return Step(as_it_is, frozenset({status.previous}), status, due_s=_LOOK_AGAIN_S)
    drains = status.strategy == "DrainFirst"
    surge = 0 if drains else facts.granted
    lost = step_size(facts.replicas, facts.policy) if drains else 0
    if new.desired > goal:
        old = facts.revisions[status.previous]
        replicas = _walk(facts, old, trusted=facts.wanted, goal=kept, kept=goal, surge=surge, lost=lost)
    else:
        replicas = _walk(facts, new, trusted=status.previous, goal=goal, kept=kept, surge=surge, lost=lost)
    if status.phase == "Canary":
        return Step(replicas, frozenset({facts.wanted, status.previous}), status)
    due_s = facts.policy.progress_deadline_seconds - _age_s(status, now)
    return Step(replicas, frozenset({facts.wanted}), status, due_s=max(_LOOK_AGAIN_S, due_s))


def _note_progress(
    facts: Facts, status: rollouts.RolloutStatus, now: datetime.datetime
) -> rollouts.RolloutStatus:
    """The rollout with its peak and time of progress; Returned where there was none for too long."""
    goal, kept = _split(facts)
    new = facts.revisions.get(facts.wanted, Revision(facts.wanted))
    moved = {"ready_peak": max(new.ready, status.ready_peak), "progressed_at": now.replace(microsecond=0)}
    if new.ready >= goal:
        old = facts.revisions[status.previous]
        if status.phase == "Canary":
            return status
        status = status.model_copy(update=moved if new.ready > status.ready_peak else {})
        is_there = new.held <= goal and old.ready >= kept
        return (
            _say(status, "Canary", status.strategy, _describe_canary(facts, status)) if is_there else status
        )
    if status.phase == "Canary":
        again = f"waiting for {goal} servers of revision {facts.wanted} to be ready again"
        return _say(status.model_copy(update=moved), "Progressing", status.strategy, again)
    if status.progressed_at is None or new.ready > status.ready_peak:
        return status.model_copy(update=moved)
    if _age_s(status, now) < facts.policy.progress_deadline_seconds:
        return status
    return _say(status, "Returned", status.strategy, _describe_return(facts, status))


def _describe_canary(facts: Facts, status: rollouts.RolloutStatus) -> str:
    goal, kept = _split(facts)
    if goal == 0:
        return (
            f"revision {facts.wanted} is taken back, {status.previous} serves: "
            "raise rollout.canary.weight to go on, or revert the template"
        )
    share = round(100 * goal / (goal + kept))
    return (
        f"{goal} of {goal + kept} servers ({share} %) run revision {facts.wanted}, the others "
        f"{status.previous}: remove rollout.canary to promote it; set its weight to 0, or revert the "
        "template, to abort"
    )


def _describe_return(facts: Facts, status: rollouts.RolloutStatus) -> str:
    deadline_s = facts.policy.progress_deadline_seconds
    why = f": {facts.failure}" if facts.failure else ""
    return (
        f"revision {facts.wanted} had {status.ready_peak} of {_split(facts)[0]} servers ready and no more "
        f"within {deadline_s} s{why}; revision {status.previous} serves: change the template, or raise "
        "rollout.attempt to try again"
    )


def _age_s(status: rollouts.RolloutStatus, now: datetime.datetime) -> float:
    return (now - (status.progressed_at or now)).total_seconds()


def _go_back(facts: Facts, status: rollouts.RolloutStatus) -> Step:
    """The same walk with exchanged roles; of the revision that failed only what answers is kept a while."""
    target = facts.revisions[status.previous]
    size = step_size(facts.replicas, facts.policy)
    replicas = _walk(facts, target, trusted="", goal=facts.replicas, kept=0, surge=0, lost=size)
    return Step(replicas, frozenset({status.previous}), status)


def _walk(
    facts: Facts, target: Revision, *, trusted: str, goal: int, kept: int, surge: int, lost: int
) -> dict[str, int]:
    """Replicas of `target` and of all others, one step nearer to `goal` and `kept`.

    The target takes what the others have let go, pods that are still ending included. The others keep what
    is needed so that no more than `lost` servers are missing, those of the `trusted` revision last.
    """
    others = [one for name, one in sorted(facts.revisions.items()) if name != target.name]
    room = facts.replicas + surge - sum(one.held for one in others)
    desired = min(goal, max(target.desired, room))
    asked = sum(one.desired for one in others)
    needed = min(facts.replicas - lost - target.ready, max(asked, facts.replicas - desired))
    left = max(kept, needed, 0)
    found = {target.name: desired}
    base = facts.revisions[trusted] if trusted else None
    spare = max(0, left - (min(base.desired, base.worth_keeping) if base else 0))
    for one in others:
        if one.name != trusted:
            found[one.name] = min(one.ready, spare)
            spare -= found[one.name]
    if base:
        rest = left - sum(count for name, count in found.items() if name != target.name)
        found[base.name] = max(kept, min(rest, base.worth_keeping)) if base.failing else rest
    return {name: count for name, count in found.items() if count or name in (target.name, trusted)}
