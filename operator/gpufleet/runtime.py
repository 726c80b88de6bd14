"""What a pass works with: the ways in and out of the cluster, and what is remembered between passes."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from gpufleet import clock, kube, settings, worker
from gpufleet.decide.autoscaling import memories, recall
from gpufleet.decide.mig import usage
from gpufleet.decide.mig.repartition import rounds
from gpufleet.decide.placement.gangs import lines, waiting
from gpufleet.observe import cluster
from gpufleet.report import events, repartition, status
from gpufleet.state import samples


class Key(NamedTuple):
    """One of our objects; a cluster-scoped one has no namespace."""

    kind: str
    namespace: str
    name: str


@dataclasses.dataclass
class Runtime:
    """What a pass works with."""

    client: kube.Client
    cluster: cluster.Cluster
    settings: settings.Settings
    clock: clock.Clock
    worker: worker.Worker
    hasten: Callable[[Key], None] = lambda _: None
    """Has an object looked at without the wait for further changes of it."""
    look: samples.Look = samples.NOT_ASKED
    """What Prometheus said last."""
    past: recall.Past = dataclasses.field(default_factory=dict)
    """Loads from before the start, until a pass has taken them up."""
    scaled: memories.Pass = dataclasses.field(default_factory=memories.Pass)
    """What the last pass has found of the services that are scaled by load."""
    used: Mapping[str, usage.Usage] = dataclasses.field(default_factory=dict)
    """How much of their devices services have used, by UID."""
    round: rounds.Round | None = None
    """What the last look at MIG layouts has found; None before the first."""
    refused: dict[str, str] = dataclasses.field(default_factory=dict)
    """Why pods were not evicted at the last look at MIG layouts, by UID; losing it costs one more try."""
    teller: repartition.Teller = dataclasses.field(default_factory=repartition.Teller)
    lines: lines.Lines = dataclasses.field(default_factory=lines.Lines)
    """Gangs that wait, as the last pass has left them to the next."""
    queue: Iterable[waiting.Waiting] = ()
    """The same in order, with what each was told."""
    spending: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)
    """Held from the look at the disruption budget until what takes of it is written."""
    wake_cycle: Callable[[], None] = lambda: None
    """Asks for a pass over the fleet."""

    def __post_init__(self) -> None:
        self.status = status.StatusWriter(self.client, self.clock)
        self.events = events.EventWriter(self.client, self.clock)
