"""Is a service well? Rules in order; the first that applies gives reason and message."""

from __future__ import annotations

import dataclasses

from gpufleet.api import reasons, triton_service
from gpufleet.api import rollout as rollouts
from gpufleet.decide import diagnosis
from gpufleet.decide import status as statuses
from gpufleet.state import fleet


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """What the rules look at: pods of the current revision, all that serve, and models over the current."""

    replicas: int
    current: tuple[fleet.Pod, ...]
    serving: tuple[fleet.Pod, ...]
    models: tuple[triton_service.ModelStatus, ...]
    awaiting_agents: bool
    rollout: rollouts.RolloutStatus | None = None
    unrouted: str = ""


def judge(facts: Facts) -> statuses.Verdict:
    """Ready: every model answers somewhere. Reconciling: the fleet is still moving to the spec."""
    is_well, reason, message = _judge_serving(facts)
    stalled = (reasons.GATEWAY_API_MISSING, facts.unrouted) if facts.unrouted else None
    if facts.rollout is not None and facts.rollout.phase == "Returned":
        stalled = (reasons.ROLLOUT_FAILED, facts.rollout.message)
    return statuses.Verdict(
        is_well,
        reason,
        message,
        reconciling=_find_movement(facts),
        stalled=stalled,
    )


def _judge_serving(facts: Facts) -> tuple[bool, str, str]:
    if facts.replicas == 0 and not facts.serving:
        return False, reasons.SCALED_TO_ZERO, "0 replicas are assigned: nothing answers"
    failed = [model for model in facts.models if model.state == "Failed"]
    if failed:
        return False, reasons.MODEL_LOAD_FAILED, f"model {failed[0].name}: {failed[0].message}"
    if not any(pod.ready for pod in facts.serving):
        return False, *_explain(facts)
    waiting = [model.name for model in facts.models if model.state != "Ready"]
    if waiting and any(pod.ready for pod in facts.current):
        return False, reasons.PODS_NOT_READY, f"model {waiting[0]} is not loaded yet"
    return True, reasons.ALL_MODELS_READY, "every model answers requests"


def _explain(facts: Facts) -> tuple[str, str]:
    """Why no pod is ready."""
    found = diagnosis.diagnose(pod for pod in facts.serving if not pod.ready)
    if found is None and facts.rollout and facts.rollout.strategy == "DrainFirst":
        return reasons.ROLLOUT_IN_PROGRESS, facts.rollout.message
    return found or (reasons.PODS_NOT_READY, "no pod has all its models loaded yet")


def _find_movement(facts: Facts) -> tuple[str, str] | None:
    if facts.awaiting_agents:
        return reasons.ROLLOUT_IN_PROGRESS, "pods have yet to load the wanted models"
    is_moving = facts.rollout is not None and facts.rollout.phase in ("Waiting", "Progressing")
    all_there = sum(pod.ready for pod in facts.current) >= facts.replicas
    if not is_moving and all_there and len(facts.current) == len(facts.serving):
        return None
    found = diagnosis.diagnose(pod for pod in facts.current if not pod.ready)
    if found is None and facts.rollout and is_moving:
        return reasons.ROLLOUT_IN_PROGRESS, facts.rollout.message
    return found or (reasons.ROLLOUT_IN_PROGRESS, "waiting for pods of the current revision")
