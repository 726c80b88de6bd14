"""Gangs that have their places: what of these their pods have yet to take, and who has lost them.

Shares are booked first, all of them, then nodes are closed: so two gangs that share a node both keep their
part of it while either starts again.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set

from gpufleet.api import accelerator as accelerators
from gpufleet.api import reasons, training_job
from gpufleet.api import topology as topologies
from gpufleet.decide.placement import booking, promises
from gpufleet.decide.placement.gangs import ground as grounds
from gpufleet.decide.training import outcome, retry
from gpufleet.state import fleet, names, snapshot

Job = training_job.TrainingJob
Given = training_job.JobAssignment


@dataclasses.dataclass(frozen=True, slots=True)
class Gang:
    """A gang with places, and what of it has no node yet."""

    job: Job
    given: Given
    assigned: accelerators.AssignedAccelerator
    placement: topologies.Placement
    missing: int
    bound: Counter[str]
    domains: Sequence[tuple[int, list[str]]]

    @property
    def reach(self) -> set[str]:
        """Nodes to which its pods may go."""
        return {name for _, nodes in self.domains for name in nodes}


def note_leaving(view: snapshot.Snapshot, books: booking.Books, pods: promises.PodsByOwner) -> None:
    """What workers hold whose gang has been told to end or to shrink, before they are told so themselves."""
    usable = {node.name for node in view.nodes if node.is_usable}
    for job in view.jobs:
        given = job.status.assignment
        if given is None or given.reason not in (*reasons.TAKEN_BACK, *reasons.TAKING):
            continue
        for pod in pods.of(owner_of(job)):
            is_leaving = not given.workers or read_index(pod) >= given.workers
            if is_leaving and pod.node in usable and not pod.is_terminal and not pod.deleting:
                books.ending[pod.node].update(pod.requests)


def read_index(pod: fleet.Pod) -> int:
    """The worker's rank; shrinking an Indexed Job ends those with the highest."""
    text = pod.labels.get(names.COMPLETION_INDEX_ANNOTATION, "")
    return int(text) if text.isdecimal() else 0


def owner_of(job: Job) -> promises.Owner:
    """By which its pods are found."""
    return (names.JOB_LABEL, job.metadata.namespace, job.metadata.name)


def is_live(job: Job, view: snapshot.Snapshot, pods: promises.PodsByOwner) -> bool:
    """Whether anything of an attempt is there that may still get or hold devices."""
    has_pods = any(not pod.is_terminal for pod in pods.of(owner_of(job)))
    return has_pods or bool(view.live_workers.get(job.metadata.uid))


def book(
    view: snapshot.Snapshot,
    ground: grounds.Ground,
    books: booking.Books,
    pods: promises.PodsByOwner,
    now: datetime.datetime,
) -> Iterator[tuple[Job, Given]]:
    """Books what placed gangs have yet to take. Gives those whose places change, lost ones with 0 workers."""
    settled: list[Gang] = []
    lost: list[Gang] = []
    moving: list[tuple[Gang, Counter[str], set[str]]] = []
    for gang in _read(view, ground, pods):
        taken = _take_shares(gang, books)
        short = gang.missing - sum(taken.values())
        shunned = gang.reach & set(retry.find_avoided(gang.job, now))
        if is_live(gang.job, view, pods):
            (settled if not short or _has_room(gang, books, short) else lost).append(gang)
        elif short or shunned:
            moving.append((gang, taken, shunned))
        else:
            settled.append(gang)
    for gang in settled:
        books.close(gang.reach, gang.assigned, gang.missing)
    for gang in lost:
        yield gang.job, lose(gang.given)
    for gang, taken, shunned in moving:
        yield from _move(gang, taken, shunned, ground, books)


def book_anywhere(
    view: snapshot.Snapshot, books: booking.Books, pods: promises.PodsByOwner
) -> Iterator[tuple[Job, Given]]:
    """As `book`, for gangs whose pods may go to any node that fits."""
    jobs = {
        owner_of(job): job for job in view.jobs if job.status.assignment and job.status.assignment.workers
    }
    for one in booking.largest_first(promises.of_jobs(view.jobs, pods)):
        given = jobs[one.key].status.assignment
        if not take_anywhere(one.accelerator, one.pods, books) and given is not None:
            yield jobs[one.key], lose(given)


def take_anywhere(assigned: accelerators.AssignedAccelerator, pods: int, books: booking.Books) -> bool:
    """Books room for pods that may run anywhere; False where there is none even once others have ended."""
    short = pods - books.count_room(assigned, pods)
    if short > 0:
        ending = (books.ending[node.name][assigned.resource] for node in books.nodes_for(assigned))
        if sum(units // assigned.count for units in ending) < short:
            return False
    books.book(assigned, pods)
    return True


def lose(given: Given) -> Given:
    """The attempt ends, at no charge, and the gang waits for other places."""
    message = "nodes that its workers were to run on are gone or taken: it starts again elsewhere"
    return given.model_copy(
        update={"workers": 0, "placement": None, "reason": reasons.PLACES_LOST, "message": message}
    )


def _read(view: snapshot.Snapshot, ground: grounds.Ground, pods: promises.PodsByOwner) -> Iterator[Gang]:
    for job in view.jobs:
        given = job.status.assignment
        if given is None or not given.workers or outcome.is_finished(job):
            continue
        if given.accelerator is None or given.placement is None:
            continue
        own = pods.of(owner_of(job))
        yield Gang(
            job=job,
            given=given,
            assigned=given.accelerator,
            placement=given.placement,
            missing=promises.count_missing(job, given, own),
            bound=count_bound(own),
            domains=list(ground.nodes_in(given.accelerator, given.placement)),
        )


def count_bound(pods: Iterable[fleet.Pod]) -> Counter[str]:
    """Workers by node, of those that hold their devices for good."""
    return Counter(pod.node for pod in pods if pod.node and not pod.is_terminal and not pod.deleting)


def _take_shares(gang: Gang, books: booking.Books) -> Counter[str]:
    """Books each domain's part, as far as there is room; workers by node."""
    taken: Counter[str] = Counter()
    left = gang.missing
    for workers, nodes in gang.domains:
        wanted = min(left, workers - sum(gang.bound[name] for name in nodes))
        for name in nodes:
            here = min(wanted, books.count_places(name, gang.assigned))
            if here > 0:
                books.take(name, gang.assigned, here)
                taken[name] = here
                wanted, left = wanted - here, left - here
    return taken


def _has_room(gang: Gang, books: booking.Books, short: int) -> bool:
    """Whether those without a part of their own still find room, or will once others have ended."""
    resource, count = gang.assigned.resource, gang.assigned.count
    room = sum(
        max(0, books.count_free(name, gang.assigned) + books.ending[name][resource]) // count
        for name in gang.reach
    )
    return room >= short


def _move(
    gang: Gang, taken: grounds.Places, shunned: Set[str], ground: grounds.Ground, books: booking.Books
) -> Iterator[tuple[Job, Given]]:
    """Other places for a gang between two attempts, off suspected nodes if it can; else it keeps its own."""
    for name, workers in taken.items():
        books.take(name, gang.assigned, -workers)
    ask, tree = ground.read_ask(gang.job, gang.assigned), ground.tree_of(gang.assigned)
    short = gang.missing - sum(taken.values())
    found: grounds.Places | None = None
    for without in (shunned, ()) if short else (shunned,):
        if found is None and not isinstance(ask, grounds.Misfit):
            rooms = ground.rooms(gang.assigned, without=without)
            found = tree.find(rooms, gang.given.workers, ask)
    if found is None and short:
        yield gang.job, lose(gang.given)
        return
    settle(found or taken, gang.assigned, ground, books)
    placement = ground.describe(gang.assigned, found) if found else gang.placement
    if placement != gang.placement:
        yield gang.job, gang.given.model_copy(update={"placement": placement})


def settle(
    places: grounds.Places,
    assigned: accelerators.AssignedAccelerator,
    ground: grounds.Ground,
    books: booking.Books,
) -> None:
    """Books places that are given now, and closes what else its pods might fill."""
    for name, workers in places.items():
        books.take(name, assigned, workers)
    placement = ground.describe(assigned, places)
    if placement is not None:
        reach = {name for _, nodes in ground.nodes_in(assigned, placement) for name in nodes}
        books.close(reach, assigned, sum(places.values()))
