"""What the decision about one object may see: the object, what exists for it, and its pool."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from gpufleet.api import gpu_pool, training_job, triton_service
from gpufleet.state import children, fleet, models, progress


@dataclasses.dataclass(frozen=True, slots=True)
class ServiceView:
    """A TritonService, its owned children and pods, and what their agents said last, by pod UID."""

    service: triton_service.TritonService
    children: tuple[children.Child, ...] = ()
    pods: tuple[fleet.Pod, ...] = ()
    reports: Mapping[str, models.AgentReport] = dataclasses.field(default_factory=dict)
    pool: gpu_pool.GPUPool | None = None
    kinds: frozenset[str] = frozenset()
    """Optional kinds that the cluster has."""
    answers: Mapping[Any, Any] = dataclasses.field(default_factory=dict)
    """What searches for a setting have found, by their question."""


@dataclasses.dataclass(frozen=True, slots=True)
class JobView:
    """A TrainingJob with its owned children and pods."""

    job: training_job.TrainingJob
    children: tuple[children.Child, ...] = ()
    pods: tuple[fleet.Pod, ...] = ()
    pool: gpu_pool.GPUPool | None = None
    lost_nodes: frozenset[str] = frozenset()
    """Nodes of its pods that are not Ready or have gone."""
    progress: Mapping[str, progress.Progress] = dataclasses.field(default_factory=dict)
    """How far workers 0 are, by pod UID."""
