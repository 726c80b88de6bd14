"""What the model agent of a pod says about each of its models."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # The agent would pay for all schemas at its start.
    from gpufleet.api import triton_service


@dataclasses.dataclass(frozen=True, slots=True)
class BatchTime:
    """Batches of one size: how many ran, and how long they took together (input, inference and output)."""

    size: int
    count: int
    total_us: int


@dataclasses.dataclass(frozen=True, slots=True)
class Measured:
    """One model in one pod over the last `window_s` seconds, which never reach back beyond its last load.

    `latency_us` is the server's own request latency by percentile ("P99") over about the last minute.
    """

    window_s: int
    requests: int = 0
    failures: int = 0
    batches: tuple[BatchTime, ...] = ()
    latency_us: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class ModelReport:
    """One model in one pod; `message` carries Triton's own words where loading failed.

    `versions` are those that answer, such as "3" or "2,3"; `load_ms` is how long the last load took, None
    where the agent did not see it. `measured` is there where the list asks for it.
    """

    name: str
    state: triton_service.ModelState
    message: str = ""
    versions: str = ""
    load_ms: int | None = None
    measured: Measured | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class AgentReport:
    """All models of one pod, and the revision of the wanted list that they answer to."""

    revision: str
    models: tuple[ModelReport, ...] = ()
    memory_used_mib: int | None = None
    """Device memory in use, as Triton's metrics say; None where it sees no GPU."""
