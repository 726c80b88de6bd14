"""Room for servers beyond the replicas while a rollout is under way.

What was granted stays granted, and is booked, while the rollout moves: a server that leaves frees its place
only after a while, and room that came and went would turn a surge into a drain half way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from gpufleet.api import rollout as rollouts
from gpufleet.api import triton_service
from gpufleet.decide.placement import booking, promises
from gpufleet.decide.serving import rollout

Given = tuple[triton_service.TritonService, triton_service.ServiceAssignment]


def keep(service: triton_service.TritonService, pods: promises.PodsByOwner) -> tuple[str, int]:
    """(request, surge) that the service has already and still needs."""
    asked, before = service.status.rollout, service.status.assignment
    if asked is None or before is None or before.rollout != asked.request or asked.phase == "Returned":
        return "", 0
    if asked.phase == "Canary":
        extra = max(0, promises.count_servers(service, pods).bound - before.replicas)
        return asked.request, min(before.surge, extra)
    return asked.request, before.surge


def grant(
    services: Iterable[Given],
    books: booking.Books,
    pods: promises.PodsByOwner,
    lacking: Mapping[promises.Owner, int],
) -> Iterator[Given]:
    """Each service with the room for its next step, once all that is promised already has been booked."""
    for service, given in services:
        asked = service.status.rollout
        if asked is None or asked.phase not in ("Waiting", "Progressing"):
            yield service, given
            continue
        step = rollout.step_size(given.replicas, service.spec.rollout or rollouts.Rollout())
        servers = promises.count_servers(service, pods)
        lack = max(0, lacking.get(promises.owner_of(service), 0) - servers.leaving)
        there = min(step, max(0, given.surge - lack, servers.bound - given.replicas))
        more = step - there
        if given.accelerator is not None:
            more = books.book(given.accelerator, more)
        yield service, given.model_copy(update={"rollout": asked.request, "surge": there + more})
