"""TritonService → children and status.

The pod template never follows the fleet or the list of models: models come and go through the ConfigMap
that the agents read, and a changed template is a new revision with a Deployment of its own. The old
revision stays until the new one has all its pods Ready.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from gpufleet import settings
from gpufleet.api import reasons, triton_service
from gpufleet.decide import status as statuses
from gpufleet.decide.placement import accelerators
from gpufleet.decide.resources import core, meta, workloads
from gpufleet.decide.serving import models, pod, verdict
from gpufleet.decide.triton import config
from gpufleet.state import children, decision, fleet, names, view


def decide(view: view.ServiceView, defaults: settings.Settings, now: datetime.datetime) -> decision.Decision:
    """What this service needs now. Until it is assigned, or while its spec is invalid, all it has stays."""
    service = view.service
    everything = frozenset(child.ref for child in view.children)
    assignment = service.status.assignment
    if assignment is None or not _can_proceed(assignment, service):
        if assignment is None and statuses.is_new(service.metadata, now):
            return decision.Decision(
                service.status.to_wire(), keep=everything, requeue_after_s=statuses.FIRST_LOOK_S
            )
        return decision.Decision(_wait(service, assignment, now), keep=everything)
    try:
        wanted = models.build_wanted(service)
    except config.ConfigError as error:
        status = statuses.stalled(
            service.metadata, service.status.conditions, reasons.READY, reasons.INVALID_SPEC, str(error), now
        )
        return decision.Decision(_keep_rest(service, status), keep=everything)
    plan = _plan(view, assignment, wanted, defaults)
    return _decide_status(view, assignment, wanted, plan, now)


@dataclasses.dataclass(frozen=True, slots=True)
class _Plan:
    """The children to apply, and the pods of the revision that they describe."""

    revision: str
    manifests: tuple[Mapping[str, Any], ...]
    current: tuple[fleet.Pod, ...]


def _plan(
    view: view.ServiceView,
    assignment: triton_service.ServiceAssignment,
    wanted: Mapping[str, Any],
    defaults: settings.Settings,
) -> _Plan:
    service = view.service
    template = pod.build_template(service, assignment.accelerator, view.pool, defaults)
    revision = meta.short_hash(template)
    template["metadata"]["labels"][names.REVISION_LABEL] = revision
    name, namespace = service.metadata.name, service.metadata.namespace
    ours = {names.SERVICE_LABEL: name}
    of_revision = {**ours, names.REVISION_LABEL: revision}
    ports = {
        "http": names.TRITON_HTTP_PORT,
        "grpc": names.TRITON_GRPC_PORT,
        "metrics": names.TRITON_METRICS_PORT,
    }
    text = {names.WANTED_MODELS_KEY: models.to_text(wanted)}
    manifests = (
        core.build_config_map(names.wanted_models_name(name), namespace, ours, text),
        core.build_service(name, namespace, ours, ours, ports),
        core.build_service(f"{name}-headless", namespace, ours, ours, ports, headless=True),
        workloads.build_deployment(
            f"{name}-{revision}", namespace, of_revision, of_revision, assignment.replicas, template
        ),
    )
    current = tuple(p for p in view.pods if p.labels.get(names.REVISION_LABEL) == revision and _counts(p))
    return _Plan(revision, manifests, current)


def _counts(pod: fleet.Pod) -> bool:
    return not pod.deleting and not pod.is_terminal


def _decide_status(
    view: view.ServiceView,
    assignment: triton_service.ServiceAssignment,
    wanted: Mapping[str, Any],
    plan: _Plan,
    now: datetime.datetime,
) -> decision.Decision:
    service = view.service
    serving = [p for p in view.pods if _counts(p)]
    is_rolled_out = sum(p.ready for p in plan.current) >= assignment.replicas
    listed = models.summarise([entry["name"] for entry in wanted["models"]], plan.current, view.reports)
    found = verdict.judge(
        verdict.Facts(
            replicas=assignment.replicas,
            current=plan.current,
            serving=tuple(serving),
            models=tuple(listed),
            awaiting_agents=any(
                p.uid in view.reports and view.reports[p.uid].revision != wanted["revision"]
                for p in plan.current
            ),
            is_rolled_out=is_rolled_out and len(serving) == len(plan.current),
        )
    )
    old = service.status.conditions
    conditions = statuses.build_conditions(service.metadata, old, reasons.READY, found, now)
    name, namespace = service.metadata.name, service.metadata.namespace
    status = triton_service.TritonServiceStatus(
        observed_generation=service.metadata.generation,
        conditions=conditions,
        replicas=len(serving),
        ready_replicas=sum(p.ready for p in serving),
        selector=f"{names.SERVICE_LABEL}={name}",
        revision=plan.revision,
        endpoint=f"{name}.{namespace}.svc:{names.TRITON_HTTP_PORT}",
        models=listed,
    )
    return decision.Decision(
        status=status.to_wire(),
        apply=plan.manifests,
        keep=frozenset() if is_rolled_out else _find_kept(view),
        events=statuses.events_of_change(old, conditions),
    )


def _can_proceed(assignment: triton_service.ServiceAssignment, service: triton_service.TritonService) -> bool:
    """Whether the assignment answers the present accelerator block, and with one if it asks for one."""
    wanted = service.spec.accelerator
    return accelerators.answers(assignment, wanted) and (wanted is None or assignment.accelerator is not None)


def _find_kept(view: view.ServiceView) -> frozenset[children.ChildRef]:
    """Revisions that serve while the new one comes up; all, where none does: the cause may pass.

    A revision that was superseded before any of its pods was ready only holds what the next one needs.
    """
    ready = {pod.labels.get(names.REVISION_LABEL) for pod in view.pods if pod.ready and _counts(pod)}
    revisions = [child for child in view.children if child.kind == "Deployment"]
    serving = [child for child in revisions if child.labels.get(names.REVISION_LABEL) in ready]
    return frozenset(child.ref for child in serving or revisions)


def _wait(
    service: triton_service.TritonService,
    assignment: triton_service.ServiceAssignment | None,
    now: datetime.datetime,
) -> Mapping[str, Any]:
    """The status of a service that the fleet cycle has not served yet, or could not."""
    if assignment is not None and accelerators.refuses(assignment, service.spec.accelerator):
        status = statuses.stalled(
            service.metadata,
            service.status.conditions,
            reasons.READY,
            assignment.reason,
            assignment.message,
            now,
        )
        return _keep_rest(service, status)
    message = "the fleet cycle has not assigned replicas and an accelerator yet"
    awaiting = (reasons.AWAITING_ASSIGNMENT, message)
    before = statuses.keep_decided(service.status.conditions, reasons.READY)
    found = dataclasses.replace(before or statuses.Verdict(None, *awaiting), reconciling=awaiting)
    conditions = statuses.build_conditions(
        service.metadata, service.status.conditions, reasons.READY, found, now
    )
    return _keep_rest(service, {"conditions": [condition.to_wire() for condition in conditions]})


def _keep_rest(service: triton_service.TritonService, changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The status as it was, with these fields changed; the assignment belongs to the cycle."""
    before = service.status.model_copy(update={"assignment": None}).to_wire()
    return {**before, "observedGeneration": service.metadata.generation, **changes}
