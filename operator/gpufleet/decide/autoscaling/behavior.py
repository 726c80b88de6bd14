"""Holds a recommendation back as an HPA's `behavior` does: windows first, then rates.

Defaults and arithmetic are those of the HorizontalPodAutoscaler, autoscaling/v2
(https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/#configurable-scaling-behavior).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

from gpufleet.api import autoscaling

UP_WINDOW_S = 0
DOWN_WINDOW_S = 300
UP_POLICIES = (
    autoscaling.ScalingPolicy(type="Percent", value=100, period_seconds=15),
    autoscaling.ScalingPolicy(type="Pods", value=4, period_seconds=15),
)
DOWN_POLICIES = (autoscaling.ScalingPolicy(type="Percent", value=100, period_seconds=15),)
LONGEST_S = 3600.0
"""No window or period is longer, so nothing older need be remembered."""


@dataclasses.dataclass(frozen=True, slots=True)
class Recommendation:
    """What the policy wanted at a moment, in seconds of a monotonic or wall clock."""

    at_s: float
    replicas: int


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """Servers that came (positive) or went at a moment."""

    at_s: float
    servers: int


@dataclasses.dataclass(frozen=True, slots=True)
class Memory:
    """What was recommended and changed; `since_s` is when watching began.

    A recommendation stands until the next one: equal ones in a row are remembered once.
    """

    since_s: float
    recommendations: tuple[Recommendation, ...] = ()
    changes: tuple[Change, ...] = ()
    lacking_since_s: float | None = None
    """Since when evidence has been lacking without a break."""

    def note(self, recommended: int, now_s: float) -> Memory:
        """With one recommendation more, without what no window reaches any more."""
        kept = self.recommendations
        if not kept or kept[-1].replicas != recommended:
            kept = (*kept, Recommendation(now_s, recommended))
        first = next((i for i, one in enumerate(kept[1:]) if one.at_s > now_s - LONGEST_S), len(kept) - 1)
        return dataclasses.replace(self, recommendations=kept[first:])

    def note_change(self, servers: int, now_s: float) -> Memory:
        """With what was changed, so that rates count it."""
        recent = (one for one in self.changes if one.at_s > now_s - LONGEST_S)
        return dataclasses.replace(self, changes=(*recent, Change(now_s, servers)))

    def within(self, window_s: float, now_s: float) -> Iterable[int]:
        """Recommendations that stood at any time of the window."""
        for index, one in enumerate(self.recommendations):
            is_last = index + 1 == len(self.recommendations)
            if is_last or self.recommendations[index + 1].at_s > now_s - window_s:
                yield one.replicas


@dataclasses.dataclass(frozen=True, slots=True)
class Held:
    """The number that is allowed now, and what held it back; empty where nothing did."""

    replicas: int
    reason: str = ""
    message: str = ""


def hold(
    current: int,
    memory: Memory,
    behavior: autoscaling.Behavior,
    now_s: float,
    down_window_s: int = DOWN_WINDOW_S,
) -> Held:
    """What may be of the newest recommendation. `memory` has it noted already.

    `down_window_s` is the window of shrinking where the behavior has none.
    """
    wanted = memory.recommendations[-1].replicas if memory.recommendations else current
    if wanted > current:
        return _hold_growth(current, wanted, memory, behavior.scale_up, now_s)
    if wanted < current:
        rules = behavior.scale_down
        return _hold_shrinking(current, wanted, memory, rules, _window_s(rules, down_window_s), now_s)
    return Held(current)


def _hold_growth(
    current: int, wanted: int, memory: Memory, rules: autoscaling.ScalingRules, now_s: float
) -> Held:
    if rules.select_policy == "Disabled":
        return Held(current, "ScaleUpDisabled", "behavior.scaleUp.selectPolicy is Disabled")
    window_s = _window_s(rules, UP_WINDOW_S)
    stable = max(current, min(memory.within(window_s, now_s), default=wanted))
    if stable < wanted and stable == current:
        return Held(current, "ScaleUpStabilized", f"fewer servers were enough within the last {window_s} s")
    limit = max(current, _find_limit(current, memory, rules, now_s, grows=True))
    if limit < stable:
        return Held(limit, "ScaleUpRate", f"behavior.scaleUp allows {limit - current} more at this time")
    return Held(stable)


def _hold_shrinking(
    current: int,
    wanted: int,
    memory: Memory,
    rules: autoscaling.ScalingRules,
    window_s: int,
    now_s: float,
) -> Held:
    if rules.select_policy == "Disabled":
        return Held(current, "ScaleDownDisabled", "behavior.scaleDown.selectPolicy is Disabled")
    if now_s - memory.since_s < window_s:
        missing_s = math.ceil(window_s - (now_s - memory.since_s))
        return Held(current, "ScaleDownStabilized", f"the load must be watched for {missing_s} s more")
    stable = min(current, max(memory.within(window_s, now_s), default=wanted))
    if stable == current:
        return Held(current, "ScaleDownStabilized", f"all were needed within the last {window_s} s")
    limit = min(current, _find_limit(current, memory, rules, now_s, grows=False))
    if limit > stable:
        return Held(limit, "ScaleDownRate", f"behavior.scaleDown allows {current - limit} fewer at this time")
    if stable > wanted:
        return Held(stable, "ScaleDownStabilized", f"{stable} were needed within the last {window_s} s")
    return Held(stable)


def _window_s(rules: autoscaling.ScalingRules, default_s: int) -> int:
    given = rules.stabilization_window_seconds
    return default_s if given is None else given


def _find_limit(
    current: int, memory: Memory, rules: autoscaling.ScalingRules, now_s: float, *, grows: bool
) -> int:
    """The farthest that the selected policy lets the number go."""
    policies = tuple(rules.policies) or (UP_POLICIES if grows else DOWN_POLICIES)
    limits = [_apply(policy, current, memory, now_s, grows=grows) for policy in policies]
    allows_most = rules.select_policy == "Max"
    return max(limits) if grows == allows_most else min(limits)


def _apply(
    policy: autoscaling.ScalingPolicy, current: int, memory: Memory, now_s: float, *, grows: bool
) -> int:
    """From what was there when the period began."""
    changed = sum(one.servers for one in memory.changes if one.at_s > now_s - policy.period_seconds)
    began = current - changed
    sign = 1 if grows else -1
    if policy.type == "Pods":
        return began + sign * policy.value
    exact = began * (1 + sign * policy.value / 100)
    return math.ceil(exact) if grows else math.floor(exact)
