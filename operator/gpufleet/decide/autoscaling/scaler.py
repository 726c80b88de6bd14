"""One service: signals → policy → bounds → behavior, before the fleet says whether there is room."""

from __future__ import annotations

import dataclasses

from gpufleet.api import autoscaling
from gpufleet.decide.autoscaling import behavior, policy

AT_MAXIMUM = "AtMaximum"
AT_MINIMUM = "AtMinimum"
NO_ROOM = "NoRoom"
INVENTORY_UNKNOWN = "InventoryUnknown"
STEADY = "Steady"
AWAITING_SAMPLES = "AwaitingSamples"
PATIENCE_S = 60.0
"""Evidence that lacks for less is not told: scrapes and rates need a while."""
SCALED_UP = "ScaledUp"
SCALED_DOWN = "ScaledDown"
SCHEDULED = "Scheduled"
DISRUPTION_BUDGET = "DisruptionBudget"
BUDGET_S = 3600.0
"""How long a server that has gone counts in the disruption budget."""
SURGE_LIMIT = "SurgeLimit"


@dataclasses.dataclass(frozen=True, slots=True)
class Scaling:
    """What one service should have: `replicas` are what `clamps` left of the `wanted`.

    `aim` tells in words how the objective was weighed, `trouble` what stands in the way of servers that
    should be ready, as reason and message; `mark` is the wake annotation's answered value.
    """

    mode: autoscaling.Mode
    before: int
    wanted: int
    replicas: int
    inputs: tuple[autoscaling.Input, ...] = ()
    clamps: tuple[autoscaling.Clamp, ...] = ()
    leading: str = ""
    demand: autoscaling.Demand | None = None
    aim: str = ""
    trouble: tuple[str, str] | None = None
    mark: str = ""

    def clamp(self, reason: str, after: int, message: str) -> Scaling:
        """Moved once more; nothing where the number is allowed."""
        if after == self.replicas:
            return self
        held = autoscaling.Clamp(reason=reason, before=self.replicas, after=after, message=message[:1024])
        return dataclasses.replace(self, replicas=after, clamps=(*self.clamps, held))


@dataclasses.dataclass(frozen=True, slots=True)
class Floor:
    """Fewest servers, and why; the first of several that are as high counts."""

    servers: int
    reason: str
    message: str


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """Everything that one decision is made from."""

    spec: autoscaling.Autoscaling
    facts: policy.Facts
    floors: tuple[Floor, ...] = ()
    aim: str = ""
    trouble: tuple[str, str] | None = None
    mark: str = ""
    down_window_s: int = behavior.DOWN_WINDOW_S


def scale(case: Case, memory: behavior.Memory, now_s: float) -> tuple[Scaling, behavior.Memory]:
    """The number of servers for what is seen now, and what to remember of it."""
    spec, current = case.spec, case.facts.current
    asked = _ask(case)
    floor = max(case.floors, key=lambda one: one.servers, default=Floor(spec.min_replicas, AT_MINIMUM, ""))
    bounded = min(max(asked.replicas, floor.servers), spec.max_replicas)
    reason, memory = _note(asked, bounded, memory, now_s)
    found = Scaling(
        spec.mode,
        current,
        asked.replicas,
        asked.replicas,
        asked.inputs,
        leading=asked.leading,
        demand=case.facts.demand,
        aim=case.aim,
        trouble=case.trouble,
        mark=case.mark,
    )
    if asked.reason:
        held = autoscaling.Clamp(reason=reason, before=current, after=current, message=asked.message[:1024])
        found = dataclasses.replace(found, clamps=(held,))
    found = found.clamp(floor.reason, max(found.replicas, floor.servers), floor.message)
    most = f"maxReplicas is {spec.max_replicas}"
    found = found.clamp(AT_MAXIMUM, min(found.replicas, spec.max_replicas), most)
    # The last server goes after idleSeconds, a window of its own.
    is_last = found.replicas == 0 and current == 1 and spec.behavior.scale_down.select_policy != "Disabled"
    if asked.reason or is_last:
        return found, memory
    allowed = behavior.hold(current, memory, spec.behavior, now_s, case.down_window_s)
    return found.clamp(allowed.reason or STEADY, allowed.replicas, allowed.message), memory


def _ask(case: Case) -> policy.Wanted:
    """What the signals ask for; where no server runs there are none, and only floors bring one back."""
    if case.facts.current == 0:
        return policy.Wanted(0)
    return policy.recommend(case.spec, case.facts)


def _note(
    asked: policy.Wanted, bounded: int, memory: behavior.Memory, now_s: float
) -> tuple[str, behavior.Memory]:
    """(the reason to tell, what is remembered)."""
    if asked.reason == policy.NO_EVIDENCE:
        since_s = now_s if memory.lacking_since_s is None else memory.lacking_since_s
        # A server that has just come has no samples yet, and one failed round is no outage.
        reason = AWAITING_SAMPLES if now_s - since_s < PATIENCE_S else asked.reason
        return reason, dataclasses.replace(memory, lacking_since_s=since_s)
    memory = dataclasses.replace(memory, lacking_since_s=None)
    if asked.reason:
        # What is not known is not recommended: an outage must not fill the window with the present number.
        return asked.reason, memory
    return "", memory.note(bounded, now_s)
