"""What the model agent of a pod says about each of its models."""

from __future__ import annotations

import dataclasses

from gpufleet.api import triton_service


@dataclasses.dataclass(frozen=True, slots=True)
class ModelReport:
    """One model in one pod; `message` carries Triton's own words where loading failed.

    `versions` are those that answer, such as "3" or "2,3"; `load_ms` is how long the last load took, None
    where the agent did not see it.
    """

    name: str
    state: triton_service.ModelState
    message: str = ""
    versions: str = ""
    load_ms: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class AgentReport:
    """All models of one pod, and the revision of the wanted list that they answer to."""

    revision: str
    models: tuple[ModelReport, ...] = ()
