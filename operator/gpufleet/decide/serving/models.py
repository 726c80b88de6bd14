"""The list of wanted models for the agents, and what the agents' answers amount to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from gpufleet.api import triton_service, tuning
from gpufleet.api.triton import model
from gpufleet.decide.resources import meta
from gpufleet.decide.serving import batching
from gpufleet.decide.triton import config, graph, tuned
from gpufleet.state import fleet, models


def build_wanted(
    service: triton_service.TritonService, tunings: batching.Tunings | None = None
) -> dict[str, Any]:
    """`{"revision", "models": [{"name", "config", "after", "measured", "trial"}]}` for the agents.

    A model that says nothing but its name has no config: the repository's own config.pbtxt holds. An
    ensemble comes `after` its models. A `measured` one is counted, and a trial is for one pod by name.
    Raises config.ConfigError.
    """
    if faults := find_faults(service):
        raise config.ConfigError(faults)
    has_objective = service.spec.objective is not None
    wanted = [
        _build_entry(
            one, (tunings or {}).get(one.name), is_measured=has_objective and batching.is_measurable(one)
        )
        for one in graph.order(service.spec.models)
    ]
    return {"revision": meta.short_hash(wanted), "models": wanted}


def find_faults(service: triton_service.TritonService) -> list[str]:
    """All that Triton would refuse in the models, or in the models together with their server."""
    spec = service.spec
    faults = config.check(spec.models, has_accelerator=spec.accelerator is not None)
    if spec.template is None or spec.template.response_cache_size is None:
        faults += [
            f"models[{one.name}].responseCache needs a cache: set spec.template.responseCacheSize"
            for one in spec.models
            if one.response_cache
        ]
    if spec.objective is None:
        faults += [
            f"models[{one.name}].batching.mode Tuned needs an objective: set spec.objective.latency"
            for one in spec.models
            if batching.is_tuned(one)
        ]
    return faults


def _build_entry(
    one: model.Model, chosen: tuning.TuningStatus | None, *, is_measured: bool
) -> dict[str, Any]:
    if batching.is_tuned(one):
        return _build_tuned(one, chosen or tuning.TuningStatus(setting=tuned.start(one)))
    entry: dict[str, Any] = {"name": one.name} | ({"measured": True} if is_measured else {})
    if is_as_in_repository(one):
        return entry
    entry["config"] = config.to_json(config.build(one))
    if one.ensemble is not None:
        entry["after"] = sorted({step.model_name for step in one.ensemble.steps})
    return entry


def _build_tuned(one: model.Model, chosen: tuning.TuningStatus) -> dict[str, Any]:
    """The setting of all pods, and beside it that of the one on which another is tried."""
    tried = chosen.trial

    def build(setting: tuning.BatchSetting) -> dict[str, Any]:
        return config.to_json(config.build(batching.apply_setting(one, setting)))

    for_all = tried.setting if tried is not None and not tried.pod else chosen.setting
    entry = {"name": one.name, "config": build(for_all), "measured": True}
    if tried is not None and tried.pod:
        entry["trial"] = {"pod": tried.pod, "config": build(tried.setting)}
    return entry


def is_as_in_repository(one: model.Model) -> bool:
    """Whether nothing is said of a model that Triton would read."""
    return one == model.Model(name=one.name, memory=one.memory)


def to_text(wanted: Mapping[str, Any]) -> str:
    """The file's text, the same for the same list."""
    return json.dumps(wanted, sort_keys=True, indent=1)


def summarise(
    wanted: Sequence[model.Model],
    pods: Sequence[fleet.Pod],
    reports: Mapping[str, models.AgentReport],
    tunings: batching.Tunings | None = None,
) -> list[triton_service.ModelStatus]:
    """Each wanted model over the current pods; a pod without a report speaks by its readiness alone."""
    return [
        _summarise_one(name, pods, reports).model_copy(update={"tuning": (tunings or {}).get(name)})
        for name in sorted(one.name for one in wanted)
    ]


def _summarise_one(
    name: str, pods: Sequence[fleet.Pod], reports: Mapping[str, models.AgentReport]
) -> triton_service.ModelStatus:
    states: list[models.ModelReport] = []
    for pod in sorted(pods, key=lambda pod: pod.name):
        if pod.uid in reports:
            states += [report for report in reports[pod.uid].models if report.name == name]
        elif pod.ready:
            states.append(models.ModelReport(name, "Ready"))
    ready = [state for state in states if state.state == "Ready"]
    failed = [state for state in states if state.state == "Failed"]
    versions = sorted({state.versions for state in states if state.versions})
    return triton_service.ModelStatus(
        name=name,
        state=_find_state(states, has_ready=bool(ready), has_failed=bool(failed)),
        ready_pods=len(ready),
        versions=" ".join(versions)[:256],
        load_milliseconds=max((one.load_ms for one in states if one.load_ms is not None), default=None),
        message=failed[0].message[:1024] if failed else "",
    )


def _find_state(
    states: Sequence[models.ModelReport], *, has_ready: bool, has_failed: bool
) -> triton_service.ModelState:
    if has_failed:
        return "Failed"
    if has_ready:
        return "Ready"
    return "Loading" if states else "Pending"
