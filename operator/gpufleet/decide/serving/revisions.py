"""The revisions of a service as the cluster shows them, and what a rollout has to tell."""

from __future__ import annotations

from collections.abc import Mapping

from gpufleet.api import reasons, triton_service
from gpufleet.api import rollout as rollouts
from gpufleet.decide import diagnosis
from gpufleet.decide.serving import rollout
from gpufleet.state import children, decision, fleet, names, view


def counts(pod: fleet.Pod) -> bool:
    """Whether the pod serves or is on its way."""
    return not pod.deleting and not pod.is_terminal


def deployments(view: view.ServiceView) -> Mapping[str, children.Child]:
    """The Deployment of each revision."""
    found = [child for child in view.children if child.kind == "Deployment" and not child.is_deleting]
    return {child.labels.get(names.REVISION_LABEL, ""): child for child in found}


def find_facts(
    view: view.ServiceView, assignment: triton_service.ServiceAssignment, wanted: str
) -> rollout.Facts:
    """All that the next step of a rollout depends on."""
    service, accelerator = view.service, assignment.accelerator
    by_revision: dict[str, list[fleet.Pod]] = {name: [] for name in deployments(view)}
    for pod in view.pods:
        if not pod.is_terminal:
            by_revision.setdefault(pod.labels.get(names.REVISION_LABEL, ""), []).append(pod)
    new = [pod for pod in by_revision.get(wanted, ()) if counts(pod) and not pod.ready]
    old = [pod for name, pods in by_revision.items() for pod in pods if name != wanted]
    failure = diagnosis.diagnose(new)
    return rollout.Facts(
        wanted=wanted,
        replicas=assignment.replicas,
        revisions={name: _find_revision(view, name, pods) for name, pods in by_revision.items()},
        policy=service.spec.rollout or rollouts.Rollout(),
        before=service.status.rollout,
        answered=assignment.rollout,
        granted=assignment.surge,
        need=f"{accelerator.count} × {accelerator.resource}" if accelerator else "place",
        draining_frees_it=accelerator is None
        or not old
        or any(pod.requests.get(accelerator.resource, 0) >= accelerator.count for pod in old),
        failure=failure[1] if failure else "",
    )


def _find_revision(view: view.ServiceView, name: str, pods: list[fleet.Pod]) -> rollout.Revision:
    """Pods whose Deployment is gone only hold their place until they are gone too."""
    child = deployments(view).get(name)
    if child is None:
        return rollout.Revision(name, present=len(pods))
    alive = [pod for pod in pods if counts(pod)]
    return rollout.Revision(
        name,
        desired=int(child.body["spec"].get("replicas", 1)),
        ready=sum(pod.ready for pod in alive),
        present=len(pods),
        failing=diagnosis.diagnose(pod for pod in alive if not pod.ready) is not None,
    )


def events_of_change(facts: rollout.Facts, step: rollout.Step) -> tuple[decision.Event, ...]:
    """One Event where a rollout starts, changes its way, holds or ends; a failure is told by Stalled."""
    before, after = facts.before, step.status
    if after is None:
        return _end(facts, before)
    if before is not None and _identify(before) == _identify(after):
        return ()
    if after.phase == "Canary":
        return (decision.Event("Normal", reasons.CANARY_SERVES, after.message),)
    if after.phase == "Progressing":
        return (decision.Event("Normal", reasons.ROLLOUT_STARTED, after.message),)
    return ()


def _identify(status: rollouts.RolloutStatus) -> tuple[object, ...]:
    return status.revision, status.phase, status.strategy, status.weight, status.attempt


def _end(facts: rollout.Facts, before: rollouts.RolloutStatus | None) -> tuple[decision.Event, ...]:
    if before is None:
        return ()
    if before.revision == facts.wanted:
        told = f"all servers run revision {facts.wanted}"
        return (decision.Event("Normal", reasons.ROLLOUT_COMPLETE, told),)
    told = f"all servers run revision {facts.wanted} again; revision {before.revision} is gone"
    return (decision.Event("Normal", reasons.ROLLOUT_ABORTED, told),)
