"""Nodes whose slices are made by ResourceClaims: what NVIDIA's DRA driver offers in its ResourceSlices."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping

from gpufleet import clock, kube
from gpufleet.decide.mig import claims
from gpufleet.observe import informer, store
from gpufleet.state import fleet

Offered = Mapping[str, frozenset[str]]
"""Profiles that can be made, by node."""

_log = logging.getLogger(__name__)


class Claimed:
    """Follows the ResourceSlices of that driver; where the cluster has no such kind there are none."""

    def __init__(
        self, client: kube.Client, on_change: Callable[[], None], time_source: clock.Clock | None = None
    ) -> None:
        self.held: store.Store[Offered] = store.Store(_decode, on_change=lambda _: on_change())
        self.informer = informer.Informer(
            client,
            claims.API_VERSION,
            "ResourceSlice",
            self.held,
            time_source=time_source,
            field_selector=f"spec.driver={claims.DRIVER}",
        )

    def join(self, nodes: tuple[fleet.Node, ...]) -> tuple[fleet.Node, ...]:
        """The nodes with what is offered on them; the same value where nothing is.

        What one node offers may be written in several ResourceSlices.
        """
        offered: dict[str, frozenset[str]] = {}
        for entry in self.held.entries():
            for node, profiles in entry.value.items():
                offered[node] = offered.get(node, frozenset()) | profiles
        if not offered:
            return nodes
        return tuple(
            dataclasses.replace(node, claimable=offered[node.name]) if node.name in offered else node
            for node in nodes
        )


def _decode(raw: store.Raw) -> Offered | None:
    """Of one ResourceSlice; None where it offers none, or makes no sense."""
    try:
        return claims.find_offers([raw]) or None
    except (AttributeError, KeyError, TypeError) as error:
        _log.warning("resourceslice %s cannot be read: %s", raw["metadata"]["name"], error)
        return None
