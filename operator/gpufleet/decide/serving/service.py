"""TritonService → children and status.

The pod template never follows the fleet or the list of models: models come and go through the ConfigMap
that the agents read, and a changed template is a new revision with a Deployment of its own. How many
servers each revision has is the rollout's to say.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from gpufleet import settings
from gpufleet.api import meta as api_meta
from gpufleet.api import reasons, triton_service
from gpufleet.decide import status as statuses
from gpufleet.decide.placement import accelerators
from gpufleet.decide.resources import core, meta, workloads
from gpufleet.decide.serving import batching, memory, models, pod, revisions, rollout, routing, verdict
from gpufleet.decide.triton import config
from gpufleet.state import decision, fleet, names, view


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
        published = models.build_wanted(service, batching.read_tunings(service))
    except config.ConfigError as error:
        status = statuses.stalled(
            service.metadata, service.status.conditions, reasons.READY, reasons.INVALID_SPEC, str(error), now
        )
        return decision.Decision(_keep_rest(service, status), keep=everything)
    if fault := memory.find_fault(memory.estimate(service, assignment.accelerator)):
        status = statuses.stalled(
            service.metadata,
            service.status.conditions,
            reasons.READY,
            reasons.INSUFFICIENT_MEMORY,
            fault,
            now,
        )
        return decision.Decision(_keep_rest(service, status), keep=everything)
    return _decide(view, assignment, published, defaults, now)


def _decide(
    view: view.ServiceView,
    assignment: triton_service.ServiceAssignment,
    published: Mapping[str, Any],
    defaults: settings.Settings,
    now: datetime.datetime,
) -> decision.Decision:
    template = pod.build_template(view.service, assignment.accelerator, view.pool, defaults)
    revision = meta.short_hash(template)
    template["metadata"]["labels"][names.REVISION_LABEL] = revision
    facts = revisions.find_facts(view, assignment, revision)
    step = rollout.plan(facts, now)
    current = tuple(p for p in _find_serving(view) if p.labels.get(names.REVISION_LABEL) in step.serving)
    tuning = batching.plan(view, current, published["revision"], now)
    wanted = models.build_wanted(view.service, tuning.tunings)
    routed = routing.plan(view, facts, step)
    if step.status is not None:
        told = step.status.model_copy(update={"traffic": routed.traffic})
        step = dataclasses.replace(step, status=told)
    # What a pod needs to start comes first.
    manifests = [_build_wanted(view.service, wanted)]
    if revision in step.replicas:
        manifests.append(_build_deployment(view.service, revision, step.replicas[revision], template))
    manifests += [*_build_names(view.service), *tuning.profiles, *routed.manifests]
    others = {
        child.ref: step.replicas[name]
        for name, child in revisions.deployments(view).items()
        if name in step.replicas and name != revision
    }
    found = models.summarise(view.service.spec.models, current, view.reports, tuning.tunings)
    status, conditions = _build_status(view, found, wanted["revision"], facts, step, routed.fault, now)
    return decision.Decision(
        status=status,
        apply=tuple(manifests),
        keep=tuning.keep.union(others),
        scale=others,
        events=(
            *statuses.events_of_change(view.service.status.conditions, conditions),
            *revisions.events_of_change(facts, step),
        ),
        requeue_after_s=min((due for due in (step.due_s, tuning.due_s) if due is not None), default=None),
        questions=tuning.questions,
    )


def _find_serving(view: view.ServiceView) -> tuple[fleet.Pod, ...]:
    return tuple(pod for pod in view.pods if revisions.counts(pod))


def _build_wanted(service: triton_service.TritonService, wanted: Mapping[str, Any]) -> Mapping[str, Any]:
    """The list of wanted models, which all revisions have in common."""
    name = service.metadata.name
    text = {names.WANTED_MODELS_KEY: models.to_text(wanted)}
    ours = {names.SERVICE_LABEL: name}
    return core.build_config_map(names.wanted_models_name(name), service.metadata.namespace, ours, text)


def _build_names(service: triton_service.TritonService) -> tuple[Mapping[str, Any], ...]:
    """The names that clients know."""
    name, namespace = service.metadata.name, service.metadata.namespace
    ours = {names.SERVICE_LABEL: name}
    ports = core.TRITON_PORTS
    return (
        core.build_service(name, namespace, ours, ours, ports),
        core.build_service(f"{name}-headless", namespace, ours, ours, ports, headless=True),
    )


def _build_deployment(
    service: triton_service.TritonService, revision: str, replicas: int, template: Mapping[str, Any]
) -> Mapping[str, Any]:
    name, namespace = service.metadata.name, service.metadata.namespace
    labels = {names.SERVICE_LABEL: name, names.REVISION_LABEL: revision}
    return workloads.build_deployment(f"{name}-{revision}", namespace, labels, labels, replicas, template)


def _build_status(
    view: view.ServiceView,
    listed: list[triton_service.ModelStatus],
    published: str,
    facts: rollout.Facts,
    step: rollout.Step,
    unrouted: str,
    now: datetime.datetime,
) -> tuple[Mapping[str, Any], list[api_meta.Condition]]:
    service = view.service
    serving = _find_serving(view)
    current = tuple(p for p in serving if p.labels.get(names.REVISION_LABEL) in step.serving)
    found = verdict.judge(
        verdict.Facts(
            replicas=facts.replicas,
            current=current,
            serving=serving,
            models=tuple(listed),
            awaiting_agents=any(
                p.uid in view.reports and view.reports[p.uid].revision != published for p in current
            ),
            rollout=step.status,
            unrouted=unrouted,
        )
    )
    conditions = statuses.build_conditions(
        service.metadata, service.status.conditions, reasons.READY, found, now
    )
    name, namespace = service.metadata.name, service.metadata.namespace
    failed = step.status is not None and step.status.phase == "Returned"
    status = triton_service.TritonServiceStatus(
        observed_generation=service.metadata.generation,
        conditions=conditions,
        replicas=len(serving),
        ready_replicas=sum(p.ready for p in serving),
        selector=f"{names.SERVICE_LABEL}={name}",
        revision=step.status.previous if step.status and failed else facts.wanted,
        endpoint=f"{name}.{namespace}.svc:{names.TRITON_HTTP_PORT}",
        models=listed,
        memory=memory.build_status(
            memory.estimate(
                service, service.status.assignment.accelerator if service.status.assignment else None
            ),
            service.status.memory,
            view.reports,
        ),
        rollout=step.status,
    )
    return status.to_wire(), conditions


def _can_proceed(assignment: triton_service.ServiceAssignment, service: triton_service.TritonService) -> bool:
    """Whether the assignment answers the present accelerator block, and with one if it asks for one."""
    wanted = service.spec.accelerator
    return accelerators.answers(assignment, wanted) and (wanted is None or assignment.accelerator is not None)


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
    """The status as it was, with these fields changed; what the cycle writes stays its own."""
    cycles = {"assignment": None, "autoscaling": None, "right_sizing": None, "slice_choice": None}
    before = service.status.model_copy(update=cycles).to_wire()
    return {**before, "observedGeneration": service.metadata.generation, **changes}
