"""All services in one pass: which slice each should have, what is told of it, and who moves."""

from __future__ import annotations

import dataclasses
import datetime
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gpufleet.api import accelerator as accelerators
from gpufleet.api import gpu_pool, mig_policy, model_profile, triton_service
from gpufleet.decide.autoscaling import capacity, memories, signals
from gpufleet.decide.placement import accelerators as resolving
from gpufleet.decide.placement.slices import costs, judging, offers
from gpufleet.decide.serving import memory
from gpufleet.decide.triton import profiles
from gpufleet.state import snapshot

_EVERY_MINUTES = 5
_TINY = 1e-9
_SILENT = (judging.PROFILES_MISSING, judging.LOADS_SHORT)
"""Worth no word where nothing was ever said."""
_POLICY = mig_policy.MigPolicy()

Service = triton_service.TritonService


@dataclasses.dataclass(frozen=True, slots=True)
class Move:
    """A service that gets another accelerator now, and at least so many servers of it."""

    accelerator: accelerators.AssignedAccelerator
    servers: int


@dataclasses.dataclass(frozen=True, slots=True)
class Held:
    """Why a service does not move though another size would be right; a reason where that one says more."""

    why: str
    reason: str = ""
    servers: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """What status does not say yet."""

    service: Service
    told: triton_service.SliceChoice


@dataclasses.dataclass(frozen=True, slots=True)
class Chosen:
    """Of one pass; moves are by UID, questions are asked of the worker."""

    wanted: tuple[Wanted, ...] = ()
    moves: Mapping[str, Move] = dataclasses.field(default_factory=dict)
    questions: tuple[capacity.Question, ...] = ()


def choose_all(
    view: snapshot.Snapshot, found: memories.Pass, answers: Mapping[Any, Any], now: datetime.datetime
) -> Chosen:
    """For services that ask for memory, have an objective and whose load is known.

    In turn, every few minutes: what it follows from changes slowly.
    """
    due = [one for one in view.services if _is_due(one, found, now)]
    if not due:
        return Chosen()
    inventory = offers.Inventory(view)
    wanted, moves, questions = list[Wanted](), dict[str, Move](), list[capacity.Question]()
    for service in due:
        sizes = _measure(service, view, inventory, found, answers)
        questions += sizes.questions
        if sizes.present is None or sizes.questions:
            continue
        choice = _judge(service, sizes.present, sizes.known, found)
        move = _find_move(service, sizes.present, choice, found, now)
        if isinstance(move, Move):
            moves[service.metadata.uid] = move
            inventory.take(move.accelerator, move.servers)
        told = _tell(service, choice, move, now)
        if _is_news(told, service.status.slice_choice):
            wanted.append(Wanted(service, told))
    return Chosen(tuple(wanted), moves, tuple(questions))


def _is_due(service: Service, found: memories.Pass, now: datetime.datetime) -> bool:
    given, block, uid = service.status.assignment, service.spec.accelerator, service.metadata.uid
    if block is None or block.memory is None or service.spec.objective is None or uid not in found.scalings:
        return False
    minute = int(now.timestamp() // 60)
    if (minute + zlib.crc32(uid.encode())) % _EVERY_MINUTES or given is None or given.accelerator is None:
        return False
    return resolving.answers(given, block)


@dataclasses.dataclass(frozen=True, slots=True)
class _Sizes:
    """What a server of each size carries, as far as is known, and what the worker has still to find out."""

    present: offers.Offer | None
    known: Sequence[tuple[offers.Offer, float]] = ()
    questions: tuple[capacity.Question, ...] = ()


def _measure(
    service: Service,
    view: snapshot.Snapshot,
    inventory: offers.Inventory,
    found: memories.Pass,
    answers: Mapping[Any, Any],
) -> _Sizes:
    block, given, uid = service.spec.accelerator, service.status.assignment, service.metadata.uid
    if block is None or given is None or given.accelerator is None:
        return _Sizes(None)
    present = inventory.build(given.accelerator)
    if present is None:
        return _Sizes(None)
    records = view.profiles.get(uid, ())
    known, missing = list[tuple[offers.Offer, float]](), list[capacity.Question]()
    others = _find_others(present, inventory.find(block), records)
    for offer in (present, *(one for one in others if _has_room(service, one))):
        asked = dict(capacity.ask(service, records, profiles.describe_hardware(offer.accelerator)))
        missing += (one for one in asked.values() if one not in answers)
        carried = {name: float(answers[one]) for name, one in asked.items() if one in answers}
        # None where a model has no profile there, or where it is not known in which proportion all are asked.
        carries = _carry(service, found.readings[uid], carried)
        if carries is not None:
            known.append((offer, carries))
    return _Sizes(present, known, tuple(missing))


def _has_room(service: Service, offer: offers.Offer) -> bool:
    """Whether all copies of the models fit, as far as their authors tell; the block says the rest."""
    copies = {one.name: one.tuning.setting.instances for one in service.status.models if one.tuning}
    return not memory.find_fault(memory.estimate(service, offer.accelerator, copies))


def _carry(service: Service, readings: signals.Readings, carried: Mapping[str, float]) -> float | None:
    """Nothing where one request alone takes longer than the objective allows."""
    if carried and not any(carried.values()):
        return 0.0
    return capacity.mix(service, readings, carried)


def _find_others(
    present: offers.Offer, offered: Sequence[offers.Offer], known: Sequence[model_profile.ModelProfileSpec]
) -> Iterator[offers.Offer]:
    """Sizes of which somebody has measured something."""
    measured = {one.hardware for one in known}
    here = profiles.describe_hardware(present.accelerator)
    for offer in offered:
        hardware = profiles.describe_hardware(offer.accelerator)
        if hardware != here and hardware in measured:
            yield offer


def _judge(
    service: Service,
    present: offers.Offer,
    sizes: Sequence[tuple[offers.Offer, float]],
    found: memories.Pass,
) -> judging.Choice:
    """What practice has shown of the present size, against its profile, is believed of all."""
    uid, spec = service.metadata.uid, service.spec.autoscaling
    if spec is None or not sizes or sizes[0][0] is not present:
        return judging.Choice(judging.PROFILES_MISSING, "the present slice has no ModelProfile yet")
    known, demand = found.memories[uid], found.scalings[uid].demand
    by_profile = sizes[0][1]
    seen = min(1.0, demand.capacity / by_profile) if demand and by_profile > _TINY else 1.0
    policy = _policy_of(present.pool)
    loads = costs.read_loads(known.history)
    return judging.judge(
        judging.Case(
            sizes=[(offer, carries * seen) for offer, carries in sizes],
            load=costs.build_load(spec, loads, known.rehearsed, by_profile * seen),
            most_servers=spec.max_replicas,
            start_s=known.starts.p90_s(),
            blackout_s=float(policy.blackout_seconds),
            horizon_s=float(policy.horizon_seconds),
        )
    )


def _policy_of(pool: gpu_pool.GPUPool | None) -> mig_policy.MigPolicy:
    return (pool.spec.mig if pool else None) or _POLICY


def _find_move(
    service: Service,
    present: offers.Offer,
    choice: judging.Choice,
    found: memories.Pass,
    now: datetime.datetime,
) -> Move | Held | None:
    """The move, or why there is none though one would be right; None where none would be."""
    if choice.reason not in judging.WANTS or choice.cost is None:
        return None
    offer, scaling = choice.cost.offer, found.scalings[service.metadata.uid]
    # Both pools have to let it: the one that it leaves, and the one that it goes to.
    if any(_policy_of(one.pool).slice_choice != "Auto" for one in (present, offer)):
        return Held("advice only, as mig.sliceChoice is")
    if scaling.mode != "Active":
        return Held("advice only, as autoscaling.mode is")
    rollout, told = service.status.rollout, service.status.slice_choice
    if rollout is not None:
        return Held(f"a rollout is {rollout.phase}, and it moves once none is under way")
    moved_at, horizon_s = told.moved_at if told else None, _policy_of(present.pool).horizon_seconds
    if moved_at is not None and (now - moved_at).total_seconds() < horizon_s:
        return Held(f"it has moved within mig.horizonSeconds, {horizon_s} s, already")
    servers = max(choice.cost.servers, scaling.before, 1)
    if offer.free < servers:
        return Held(f"{servers} of them are needed and {offer.free} are free", judging.LACKING, servers)
    return Move(offer.accelerator, servers)


def _tell(
    service: Service, choice: judging.Choice, move: Move | Held | None, now: datetime.datetime
) -> triton_service.SliceChoice:
    cost, before = choice.cost, service.status.slice_choice
    reason, message = choice.reason, choice.message
    moved_at = before.moved_at if before else None
    servers = cost.servers if cost else 0
    if isinstance(move, Move):
        reason, moved_at, servers = judging.MOVED, now.replace(microsecond=0), move.servers
    elif move is not None:
        reason, message = move.reason or reason, f"{message}; {move.why}"
        servers = max(servers, move.servers)
    return triton_service.SliceChoice(
        reason=reason,
        message=message[:1024],
        resource=cost.offer.accelerator.resource if cost else "",
        servers=servers,
        moved_at=moved_at,
    )


def _is_news(told: triton_service.SliceChoice, before: triton_service.SliceChoice | None) -> bool:
    """Words and sizes, not figures. That it has moved stays told while the new size is right."""
    if before is None:
        return told.reason not in _SILENT
    if told.reason == judging.BEST and before.reason == judging.MOVED and told.resource == before.resource:
        return False
    return (told.reason, told.resource) != (before.reason, before.resource)
