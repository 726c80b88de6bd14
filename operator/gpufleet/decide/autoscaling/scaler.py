"""One service: signals → policy → bounds → behavior, before the fleet says whether there is room."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence

from gpufleet.api import autoscaling
from gpufleet.decide.autoscaling import behavior, policy, signals
from gpufleet.state import fleet, samples

AT_MAXIMUM = "AtMaximum"
AT_MINIMUM = "AtMinimum"
NO_ROOM = "NoRoom"
STEADY = "Steady"
AWAITING_SAMPLES = "AwaitingSamples"
PATIENCE_S = 60.0
"""Evidence that lacks for less is not told: scrapes and rates need a while."""
SCALED_UP = "ScaledUp"
SCALED_DOWN = "ScaledDown"
_TOLD = (policy.NO_EVIDENCE, policy.PODS_STARTING, AT_MAXIMUM, NO_ROOM)
"""Why a number stays that should move; rates and windows pass by themselves."""
_KEPT = 10


@dataclasses.dataclass(frozen=True, slots=True)
class Scaling:
    """What one service should have: `replicas` are what `clamps` left of the `wanted`."""

    mode: autoscaling.Mode
    before: int
    wanted: int
    replicas: int
    inputs: tuple[autoscaling.Input, ...] = ()
    clamps: tuple[autoscaling.Clamp, ...] = ()
    leading: str = ""

    def clamp(self, reason: str, after: int, message: str) -> Scaling:
        """Held back once more; nothing where the number is allowed."""
        if after == self.replicas:
            return self
        held = autoscaling.Clamp(reason=reason, before=self.replicas, after=after, message=message[:1024])
        return dataclasses.replace(self, replicas=after, clamps=(*self.clamps, held))


def scale(
    spec: autoscaling.Autoscaling,
    pods: Sequence[fleet.Pod],
    current: int,
    look: samples.Look,
    memory: behavior.Memory,
    now_s: float,
) -> tuple[Scaling, behavior.Memory]:
    """The number of servers for what is seen now, and what to remember of it."""
    asked = policy.recommend(spec, signals.read(pods, look), current)
    bounded = min(max(asked.replicas, spec.min_replicas), spec.max_replicas)
    reason = asked.reason
    if asked.reason == policy.NO_EVIDENCE:
        since_s = now_s if memory.lacking_since_s is None else memory.lacking_since_s
        memory = dataclasses.replace(memory, lacking_since_s=since_s)
        # A server that has just come has no samples yet, and one failed round is no outage.
        reason = AWAITING_SAMPLES if now_s - since_s < PATIENCE_S else reason
    else:
        memory = dataclasses.replace(memory, lacking_since_s=None)
    if not asked.reason:
        # What is not known is not recommended: an outage must not fill the window with the present number.
        memory = memory.note(bounded, now_s)
    found = Scaling(spec.mode, current, asked.replicas, asked.replicas, asked.inputs, leading=asked.leading)
    if asked.reason:
        held = autoscaling.Clamp(reason=reason, before=current, after=current, message=asked.message[:1024])
        found = dataclasses.replace(found, clamps=(held,))
    low, high = f"minReplicas is {spec.min_replicas}", f"maxReplicas is {spec.max_replicas}"
    found = found.clamp(AT_MINIMUM, max(found.replicas, spec.min_replicas), low)
    found = found.clamp(AT_MAXIMUM, min(found.replicas, spec.max_replicas), high)
    if asked.reason:
        return found, memory
    allowed = behavior.hold(current, memory, spec.behavior, now_s)
    return found.clamp(allowed.reason or STEADY, allowed.replicas, allowed.message), memory


def build_status(
    before: autoscaling.AutoscalingStatus | None, scaling: Scaling, now: datetime.datetime
) -> autoscaling.AutoscalingStatus:
    """The record with this decision in front, where it decides anything new."""
    decided = _decide(scaling, now)
    kept = list(before.decisions) if before else []
    newest = kept[0] if kept else None
    is_new = newest is None or (newest.replicas, newest.reason) != (decided.replicas, decided.reason)
    has_moved = decided.reason in (SCALED_UP, SCALED_DOWN)
    # After a move the number stands: that is no news of its own.
    is_rest = decided.reason == STEADY and newest is not None and newest.reason in (SCALED_UP, SCALED_DOWN)
    is_rest = is_rest or (decided.reason == AWAITING_SAMPLES and newest is not None)
    if has_moved and scaling.mode == "Advisory" and newest is not None and not is_new:
        has_moved = False
    if has_moved or (is_new and not is_rest):
        kept = [decided, *kept][:_KEPT]
    return autoscaling.AutoscalingStatus(mode=scaling.mode, replicas=scaling.replicas, decisions=kept)


def _decide(scaling: Scaling, now: datetime.datetime) -> autoscaling.ScalingDecision:
    reason, message = _explain(scaling)
    return autoscaling.ScalingDecision(
        time=now.replace(microsecond=0),
        before=scaling.before,
        wanted=scaling.wanted,
        replicas=scaling.replicas,
        reason=reason,
        message=message[:1024],
        inputs=list(scaling.inputs),
        clamps=list(scaling.clamps),
    )


def _explain(scaling: Scaling) -> tuple[str, str]:
    """The reason in a word and in a sentence."""
    told = next((one for one in reversed(scaling.clamps) if one.reason in _TOLD), None)
    awaited = next((one for one in scaling.clamps if one.reason == AWAITING_SAMPLES), None)
    if scaling.replicas == scaling.before and awaited:
        return AWAITING_SAMPLES, awaited.message
    if scaling.replicas == scaling.before:
        return (told.reason, told.message) if told else (STEADY, "the servers that are there are enough")
    leading = next((one for one in scaling.inputs if one.signal == scaling.leading), None)
    why = f"{leading.signal} is {_tell(leading)}, its target {leading.target:g}" if leading else "its bounds"
    more = f"; {told.message}" if told else ""
    grows = scaling.replicas > scaling.before
    return (
        SCALED_UP if grows else SCALED_DOWN,
        f"from {scaling.before} to {scaling.replicas} servers: {why}{more}",
    )


def _tell(one: autoscaling.Input) -> str:
    return "idle" if one.type == "Idle" else "unknown" if one.value is None else f"{one.value:g}"
