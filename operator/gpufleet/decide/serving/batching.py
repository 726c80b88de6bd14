"""The tuned models of a service: what their pods show, what is tried, and what runs meanwhile."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import pydantic

from gpufleet.api import meta as api_meta
from gpufleet.api import model_profile, triton_service, tuning
from gpufleet.api.triton import instances, model
from gpufleet.decide.resources import meta
from gpufleet.decide.serving import memory
from gpufleet.decide.triton import batching as batchers
from gpufleet.decide.triton import profiles, trial, tuned
from gpufleet.decide.triton import tuning as searches
from gpufleet.state import children, fleet, names, view

Tunings = Mapping[str, tuning.TuningStatus]
"""By the model's name."""


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """The tuned models' next status, their profiles as manifests, the searches that are wanted.

    `keep` are profiles of models that are not tuned: somebody measured them.
    """

    tunings: Tunings = dataclasses.field(default_factory=dict)
    keep: frozenset[children.ChildRef] = frozenset()
    profiles: tuple[Mapping[str, Any], ...] = ()
    questions: tuple[searches.Question, ...] = ()
    due_s: float | None = None


def is_tuned(one: model.Model) -> bool:
    """Whether its batching is ours to choose."""
    return one.batching is not None and one.batching.mode == "Tuned"


def is_measurable(one: model.Model) -> bool:
    """Whether its batches tell what a server carries: an ensemble has none, some backends batch in flight."""
    return one.ensemble is None and one.backend_name not in batchers.BATCHES_IN_FLIGHT


def read_tunings(service: triton_service.TritonService) -> Tunings:
    """What was decided last, for the models that are still tuned."""
    wanted = {one.name for one in service.spec.models if is_tuned(one)}
    known = {one.name: one.tuning for one in service.status.models}
    return {name: found for name in sorted(wanted) if (found := known.get(name)) is not None}


def plan(view: view.ServiceView, pods: Sequence[fleet.Pod], published: str, now: datetime.datetime) -> Plan:
    """One step of every tuned model; `published` is the revision of the list that the pods have now."""
    service = view.service
    listed = {one.name for one in service.spec.models}
    live = {name: spec for name, spec in _read_profiles(view).items() if spec.model in listed}
    keep = frozenset(children.ChildRef(model_profile.KIND, name) for name in live)
    if service.spec.objective is None:
        return Plan(keep=keep)
    before = read_tunings(service)
    assignment = service.status.assignment
    assigned = assignment.accelerator if assignment else None
    hardware = profiles.describe_hardware(assigned)
    here = {spec.model: spec for spec in live.values() if spec.hardware == hardware}
    facts = {
        one.name: tuned.Facts(
            service=service.metadata.name,
            model=one,
            objective=service.spec.objective,
            hardware=hardware,
            pods=_read_pods(view, pods, one.name, published),
            most_copies=memory.limit_copies(service, assigned, one.name),
            profile=here.get(one.name),
            before=before.get(one.name),
            answers=view.answers,
        )
        for one in service.spec.models
    }
    steps = {one.name: tuned.plan(facts[one.name], now) for one in service.spec.models if is_tuned(one)}
    watched = (one for one in service.spec.models if not is_tuned(one) and is_measurable(one))
    records = [tuned.record(facts[one.name], now) for one in watched]
    found = [*(step.profile for step in steps.values()), *records]
    return Plan(
        tunings={name: step.status for name, step in steps.items()},
        keep=keep,
        profiles=tuple(_build_profile(service, one) for one in found if one),
        questions=tuple(step.question for step in steps.values() if step.question),
        due_s=min((step.due_s for step in steps.values() if step.due_s), default=None),
    )


def apply_setting(one: model.Model, setting: tuning.BatchSetting) -> model.Model:
    """The model with this setting, in the terms of its author.

    A smaller batch is the one preferred size, at which Triton stops collecting: requests that clients have
    batched themselves may still be as large as maxBatchSize says.
    """
    if one.batching is None:
        return one
    is_smaller = setting.batch_size < one.max_batch_size
    batching = one.batching.model_copy(
        update={
            "preferred_batch_sizes": [setting.batch_size] if is_smaller else [],
            "max_queue_delay_microseconds": setting.max_queue_delay_microseconds,
        }
    )
    if not one.batching.max_instances:
        return one.model_copy(update={"batching": batching})
    group = one.instance_groups[0] if one.instance_groups else instances.InstanceGroup()
    groups = [group.model_copy(update={"count": setting.instances})]
    return one.model_copy(update={"batching": batching, "instance_groups": groups})


def _read_pods(
    view: view.ServiceView, pods: Sequence[fleet.Pod], name: str, published: str
) -> tuple[trial.Pod, ...]:
    found = []
    for pod in sorted(pods, key=lambda pod: pod.name):
        report = view.reports.get(pod.uid)
        said = next((one for one in report.models if one.name == name), None) if report else None
        found.append(
            trial.Pod(
                name=pod.name,
                ready=pod.ready,
                settled=report is not None and report.revision == published,
                failure=said.message if said and said.state == "Failed" else "",
                measured=said.measured if said else None,
            )
        )
    return tuple(found)


def _read_profiles(view: view.ServiceView) -> dict[str, model_profile.ModelProfileSpec]:
    """The live profiles by their objects' names; one that does not parse is measured anew."""
    found = {}
    for child in view.children:
        if child.kind != model_profile.KIND or child.is_deleting:
            continue
        try:
            spec = model_profile.ModelProfileSpec.model_validate(child.body["spec"])
        except pydantic.ValidationError:
            continue
        if child.name == profile_name(view.service.metadata.name, spec.model, spec.hardware):
            found[child.name] = spec
    return found


def profile_name(service: str, model_name: str, hardware: str) -> str:
    """One for each hardware. A model's name may have capitals, and be longer than an object's."""
    return f"{service}-{meta.short_hash([model_name, hardware])}"


def _build_profile(
    service: triton_service.TritonService, profile: model_profile.ModelProfileSpec
) -> Mapping[str, Any]:
    metadata = service.metadata
    name = profile_name(metadata.name, profile.model, profile.hardware)
    return {
        "apiVersion": api_meta.API_VERSION,
        "kind": model_profile.KIND,
        "metadata": meta.build_meta(name, metadata.namespace, {names.SERVICE_LABEL: metadata.name}),
        "spec": profile.to_wire(),
    }
