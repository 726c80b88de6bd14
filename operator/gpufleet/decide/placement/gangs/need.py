"""What a waiting gang needs, worked out once; and why it can never have it, if so."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence

from gpufleet.api import accelerator as accelerators
from gpufleet.api import reasons, training_job
from gpufleet.decide.placement import accelerators as resolving
from gpufleet.decide.placement import booking
from gpufleet.decide.placement.gangs import ground as grounds
from gpufleet.decide.placement.gangs import tree as trees
from gpufleet.decide.training import layout

Job = training_job.TrainingJob


@dataclasses.dataclass(frozen=True, slots=True)
class Need:
    """Of one gang: what each worker gets, how many there may be, and how near they must be."""

    job: Job
    assigned: accelerators.AssignedAccelerator
    ask: trees.Ask

    @property
    def largest(self) -> int:
        return self.job.spec.workers.max

    @property
    def smallest(self) -> int:
        return self.job.spec.workers.min or self.largest

    @property
    def key(self) -> Hashable:
        """Equal for gangs of which none fits where another did not."""
        return booking.key_of(self.assigned), self.ask, self.smallest

    def trim(self, workers: int) -> int:
        """The largest gang of at most so many workers that its layout and its slices allow."""
        size = self.ask.slice_size
        workers = min(workers, self.largest) // size * size
        if workers < self.smallest:
            return workers
        return layout.count_workers(self.job, workers, self.assigned.count) // size * size


def read(job: Job, resolver: resolving.Resolver, ground: grounds.Ground) -> Need | resolving.Refusal | None:
    """None for a gang without accelerators, which needs nothing that is booked.

    A gang that exchanges gradients gets no slices, which have no peer-to-peer transport. While it waits, it
    may follow the fleet: no pod template holds what was chosen before.
    """
    if job.spec.accelerator is None:
        return None
    is_gang = job.spec.framework != "Plain" and job.spec.workers.max > 1
    assigned = resolver.resolve(job.spec.accelerator, whole_devices=is_gang)
    if isinstance(assigned, resolving.Refusal):
        return assigned
    ask = ground.read_ask(job, assigned)
    if isinstance(ask, grounds.Misfit):
        return resolving.Refusal(reasons.TOPOLOGY_UNSATISFIABLE, ask.message)
    return Need(job, assigned, ask)


def find_places(need: Need, rooms: Sequence[int], ground: grounds.Ground) -> grounds.Places | None:
    """For as many workers as fit, if the smallest gang does."""
    tree = ground.tree_of(need.assigned)
    sums = tree.sum(rooms, need.ask)
    workers = need.trim(tree.count_most(rooms, need.ask, sums))
    return tree.find(rooms, workers, need.ask, sums) if workers >= need.smallest else None


def find_least(need: Need, rooms: Sequence[int], ground: grounds.Ground) -> grounds.Places | None:
    """For the smallest gang."""
    tree = ground.tree_of(need.assigned)
    sums = tree.sum(rooms, need.ask)
    if tree.count_most(rooms, need.ask, sums) < need.smallest:
        return None
    return tree.find(rooms, need.smallest, need.ask, sums)


def explain_never(need: Need, ground: grounds.Ground) -> resolving.Refusal | None:
    """What even an idle fleet lacks; None where it is only a matter of time."""
    tree, needs = ground.tree_of(need.assigned), tell(need)
    places = sum(ground.idle_rooms(need.assigned))
    most = tree.count_most(ground.idle_rooms(need.assigned, usable=False), need.ask)
    if places < need.smallest:
        message = f"{needs}; usable nodes have room for {places}: add nodes, or lower workers.min"
        return resolving.Refusal(reasons.EXCEEDS_FLEET, message)
    if most < need.smallest:
        where = _tell_ask(need, tree)
        message = f"{needs} {where}; the largest has room for {most}: ask for a wider level, or fewer"
        return resolving.Refusal(reasons.TOPOLOGY_UNSATISFIABLE, message)
    return None


def explain_now(need: Need, ground: grounds.Ground) -> str:
    """What it waits for. What is free just now is left out: it moves with every pod."""
    places = sum(ground.idle_rooms(need.assigned))
    where = f" {_tell_ask(need, ground.tree_of(need.assigned))}" if _asks(need.ask) else ""
    return (
        f"{tell(need)}{where}; nodes have room for {places}, but others hold too much of it: "
        "wait for them to end, add nodes, or lower workers.min"
    )


def tell(need: Need) -> str:
    """The need in words."""
    assigned = need.assigned
    where = f" on {' or '.join(assigned.products)}" if assigned.products else ""
    where += f" in pool {assigned.pool}" if assigned.pool else ""
    each = f"{assigned.count} × {assigned.resource}"
    return f"needs {need.smallest} workers with {each}{where} at the same time"


def _asks(ask: trees.Ask) -> bool:
    return ask.required is not None or ask.slice_level is not None


def _tell_ask(need: Need, tree: trees.Tree) -> str:
    ask, said = need.ask, []
    if ask.required is not None:
        said.append(f"in one domain of {tree.levels[ask.required]}")
    if ask.slice_level is not None:
        said.append(f"in slices of {ask.slice_size} within {tree.levels[ask.slice_level]}")
    return " ".join(said)
