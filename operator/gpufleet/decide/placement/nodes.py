"""Nodes that a node autoscaler may still bring: room for servers that wait as Pending pods meanwhile.

Only Pending pods make a node autoscaler act, so that a number clamped to the present nodes would never grow.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from gpufleet.api import accelerator as accelerators
from gpufleet.api import triton_service
from gpufleet.decide.placement import booking, promises

_TINY = 1e-9


class Coming:
    """What is left of `maxNodes` by pool, once the pods that wait already have been given their share."""

    def __init__(
        self,
        services: Iterable[tuple[triton_service.TritonService, triton_service.ServiceAssignment]],
        books: booking.Books,
        lacking: Mapping[promises.Owner, int],
    ) -> None:
        self._books = books
        self._left = {name: float(books.count_nodes_to_come(name)) for name in books.pool_names}
        for service, given in services:
            waiting = lacking.get(promises.owner_of(service), 0)
            if waiting > 0 and given.accelerator is not None:
                self.take(given.accelerator, waiting)

    def take(self, assigned: accelerators.AssignedAccelerator, pods: int) -> int | None:
        """For how many of `pods` a node will come; None where nobody knows what such a node offers."""
        left = self._left.get(assigned.pool or "", 0.0)
        if left <= _TINY:
            return 0
        offered = self._books.find_usual_offer(assigned)
        if offered < assigned.count:
            return None
        each = assigned.count / offered
        found = min(pods, math.floor(left / each + _TINY))
        self._left[assigned.pool or ""] = left - found * each
        return found
