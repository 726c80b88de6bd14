"""Nodes and pods in order, sorted again only after a change."""

from __future__ import annotations

from collections.abc import Callable

from gpufleet import clock, kube
from gpufleet.observe import claimed, store
from gpufleet.state import fleet


class Kept:
    """The two collections that every pass over the fleet reads whole; nodes with what claims could have."""

    def __init__(
        self,
        nodes: store.Store[fleet.Node],
        pods: store.Store[fleet.Pod],
        client: kube.Client,
        on_change: Callable[[], None],
        time_source: clock.Clock | None = None,
    ) -> None:
        self._nodes = nodes
        self._pods = pods
        self.claimed = claimed.Claimed(client, on_change, time_source)
        self._of = (-1, -1, -1)
        self._value: tuple[tuple[fleet.Node, ...], tuple[fleet.Pod, ...]] = ((), ())

    def read(self) -> tuple[tuple[fleet.Node, ...], tuple[fleet.Pod, ...]]:
        """All nodes and all pods."""
        revisions = (self._nodes.revision, self._pods.revision, self.claimed.held.revision)
        if revisions != self._of:
            nodes = self.claimed.join(tuple(entry.value for entry in self._nodes.entries()))
            self._value = (nodes, tuple(entry.value for entry in self._pods.entries()))
            self._of = revisions
        return self._value
