"""What a pass works with: the ways in and out of the cluster, and what is remembered between passes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gpufleet import clock, kube, settings, worker
from gpufleet.decide.autoscaling import memories
from gpufleet.decide.placement.gangs import waiting
from gpufleet.observe import cluster
from gpufleet.report import events, status
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
    scaled: memories.Pass = dataclasses.field(default_factory=memories.Pass)
    """What the last pass has found of the services that are scaled by load."""
    queue: Sequence[waiting.Waiting] = ()
    """Gangs that wait, as the last pass has seen them."""
    wake_cycle: Callable[[], None] = lambda: None
    """Asks for a pass over the fleet."""

    def __post_init__(self) -> None:
        self.status = status.StatusWriter(self.client, self.clock)
        self.events = events.EventWriter(self.client, self.clock)
