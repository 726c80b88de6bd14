"""The list of wanted models for the agents, and what the agents' answers amount to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from gpufleet.api import triton_service
from gpufleet.decide.resources import meta
from gpufleet.decide.triton import config
from gpufleet.state import fleet, models


def build_wanted(service: triton_service.TritonService) -> dict[str, Any]:
    """`{"revision", "models": [{"name", "config"}]}` as the model agent reads it. Raises config.ConfigError.

    A model that says nothing but its name has no config: the repository's own config.pbtxt holds.
    """
    has_accelerator = service.spec.accelerator is not None
    wanted = [_build_entry(model, has_accelerator=has_accelerator) for model in service.spec.models]
    wanted.sort(key=lambda entry: str(entry["name"]))
    return {"revision": meta.short_hash(wanted), "models": wanted}


def _build_entry(model: triton_service.Model, *, has_accelerator: bool) -> dict[str, Any]:
    if model == triton_service.Model(name=model.name):
        return {"name": model.name}
    built = config.build(model, has_accelerator=has_accelerator)
    return {"name": model.name, "config": config.to_json(built)}


def to_text(wanted: Mapping[str, Any]) -> str:
    """The file's text, the same for the same list."""
    return json.dumps(wanted, sort_keys=True, indent=1)


def summarise(
    names: Sequence[str], pods: Sequence[fleet.Pod], reports: Mapping[str, models.AgentReport]
) -> list[triton_service.ModelStatus]:
    """Each wanted model over the current pods; a pod without a report speaks by its readiness alone."""
    return [_summarise_one(name, pods, reports) for name in sorted(names)]


def _summarise_one(
    name: str, pods: Sequence[fleet.Pod], reports: Mapping[str, models.AgentReport]
) -> triton_service.ModelStatus:
    states: list[models.ModelReport] = []
    for pod in sorted(pods, key=lambda pod: pod.name):
        if pod.uid in reports:
            states += [report for report in reports[pod.uid].models if report.name == name]
        elif pod.ready:
            states.append(models.ModelReport(name, "Ready"))
    ready = sum(state.state == "Ready" for state in states)
    failed = [state for state in states if state.state == "Failed"]
    if failed:
        return triton_service.ModelStatus(
            name=name, state="Failed", ready_pods=ready, message=failed[0].message[:1024]
        )
    if ready:
        return triton_service.ModelStatus(name=name, state="Ready", ready_pods=ready)
    return triton_service.ModelStatus(name=name, state="Loading" if states else "Pending")
