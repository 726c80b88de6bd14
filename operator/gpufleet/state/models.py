"""What the model agent of a pod says about each of its models."""

from __future__ import annotations

import dataclasses

from gpufleet.api import triton_service


@dataclasses.dataclass(frozen=True, slots=True)
class ModelReport:
    """One model in one pod; `message` carries Triton's own words where loading failed."""

    name: str
    state: triton_service.ModelState
    message: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class AgentReport:
    """All models of one pod, and the revision of the wanted list that they answer to."""

    revision: str
    models: tuple[ModelReport, ...] = ()
