"""The whole fleet: observe → decide → apply → report, one run at a time."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import datetime
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gpufleet import kube
from gpufleet.apply import assignments, nodes, sizing
from gpufleet.decide.autoscaling import memories, recall
from gpufleet.decide.mig import advising, slicechoice
from gpufleet.decide.placement import assign, brakes, disruption, release
from gpufleet.decide.placement.slices import choosing, judging
from gpufleet.report import metrics
from gpufleet.report import scaling as telemetry
from gpufleet.runtime import Key, Runtime
from gpufleet.state import assignment, decision, snapshot

_LOG = logging.getLogger(__name__)
_LABELLED_AT_A_TIME = 16
_WRITTEN_AT_A_TIME = 8
_TOLD_AT_A_TIME = 32
"""Of those who go on waiting, in one pass: of a long queue most start before they need to be told."""


async def run_once(runtime: Runtime) -> None:
    """Gives every object the assignment that it should have now.

    One object that cannot be written holds up no other. Raises kube.Unavailable: the next run tries again.
    """
    with metrics.CYCLE_SECONDS.time():
        async with runtime.spending:
            view, now = runtime.cluster.read_snapshot(), runtime.clock.now()
            found = _scale(view, now, runtime)
            chosen = choosing.choose_all(view, found, runtime.worker.answers, now)
            plan = _plan(view, found, chosen, now, runtime)
            left_out = dataclasses.replace(view, jobs=runtime.lines.left_out)
            await _write((*release.assign(left_out), *plan.assignments), runtime)
        await _write_choices(chosen, runtime)
        await _label_nodes(view, runtime)
        runtime.used, advice = advising.advise_all(view, runtime.look, runtime.used, now)
        await _write_advice(advice, runtime)


def _plan(
    view: snapshot.Snapshot,
    found: memories.Pass,
    chosen: choosing.Chosen,
    now: datetime.datetime,
    runtime: Runtime,
) -> assign.Plan:
    """What the fleet's objects are to have; what left the budget counts whoever leads their queue now."""
    limits = brakes.read(runtime.settings)
    ledger = disruption.read(view, limits.disruption_gpus_per_hour, now)
    plan = assign.plan(view, found.scalings, now, limits, ledger, chosen.moves, runtime.lines)
    runtime.scaled = dataclasses.replace(found, scalings=plan.scalings)
    runtime.queue = plan.queue
    telemetry.note(runtime.scaled, ledger)
    return plan


def _scale(view: snapshot.Snapshot, now: datetime.datetime, runtime: Runtime) -> memories.Pass:
    """What the load asks for; questions that take long go to the worker."""
    found = memories.scale_all(view, runtime.look, runtime.scaled.memories, now, runtime.worker.answers)
    if runtime.past and found.memories:
        # The next pass knows it: this one has decided.
        remembered = recall.recall(found.memories, view.services, runtime.past)
        found, runtime.past = dataclasses.replace(found, memories=remembered), {}
    runtime.scaled = found
    for question in found.questions:
        runtime.worker.ask(question, runtime.wake_cycle)
    return found


async def _write(changes: Iterable[assignment.Assignment], runtime: Runtime) -> None:
    """Rank by rank; an outage ends it."""
    ranks = collections.defaultdict[int, list[assignment.Assignment]](list)
    for one in changes:
        ranks[one.rank].append(one)
    if len(ranks[assignment.TOLD]) > _TOLD_AT_A_TIME:
        del ranks[assignment.TOLD][_TOLD_AT_A_TIME:]
        runtime.wake_cycle()
    for rank in sorted(ranks):
        await _write_side_by_side(ranks[rank], runtime)


async def _write_side_by_side(wanted: Iterable[assignment.Assignment], runtime: Runtime) -> None:
    left = collections.deque(wanted)

    async def write() -> None:
        while left:
            try:
                await _write_one(left.popleft(), runtime)
            except BaseException:
                left.clear()
                raise

    for failed in await asyncio.gather(*(write() for _ in range(_WRITTEN_AT_A_TIME)), return_exceptions=True):
        if failed is not None:
            raise failed


async def _write_one(wanted: assignment.Assignment, runtime: Runtime) -> None:
    try:
        written = await assignments.apply(runtime.client, wanted)
        runtime.cluster.note_written(written)
        runtime.hasten(Key(wanted.kind, wanted.namespace, wanted.name))
        await _tell(written, wanted, runtime)
    except kube.NotFound:
        runtime.cluster.note_gone(wanted.kind, wanted.namespace, wanted.name, wanted.uid)
    except (kube.Conflict, kube.Refused) as error:
        about = {"kind": wanted.kind, "namespace": wanted.namespace, "object": wanted.name}
        _LOG.warning("an assignment was not written", extra={**about, "error": str(error)})


async def _write_choices(chosen: choosing.Chosen, runtime: Runtime) -> None:
    """After the assignments: of a move that could not be written nothing is told."""
    for question in chosen.questions:
        runtime.worker.ask(question, runtime.wake_cycle)
    for one in chosen.wanted:
        about = one.service.metadata
        try:
            if one.told.reason == judging.MOVED and not _has_moved(one, runtime):
                continue
            written = await sizing.apply_choice(runtime.client, one.service, one.told)
            runtime.cluster.note_written(written)
            if one.told.reason == judging.MOVED:
                event = decision.Event("Normal", one.told.reason, one.told.message)
                await runtime.events.write(written, event)
        except (kube.NotFound, kube.Conflict, kube.Refused) as error:
            where = {"namespace": about.namespace, "object": about.name, "error": str(error)}
            _LOG.warning("the choice of a slice was not written", extra=where)


def _has_moved(one: choosing.Wanted, runtime: Runtime) -> bool:
    found = runtime.cluster.read_service(one.service.metadata.namespace, one.service.metadata.name)
    given = found.service.status.assignment if found else None
    return (
        given is not None
        and given.accelerator is not None
        and given.accelerator.resource == one.told.resource
    )


async def _write_advice(advice: Sequence[advising.Wanted], runtime: Runtime) -> None:
    for one in advice:
        about = one.service.metadata
        try:
            runtime.cluster.note_written(await sizing.apply(runtime.client, one.service, one.advice))
        except (kube.NotFound, kube.Conflict, kube.Refused) as error:
            where = {"namespace": about.namespace, "object": about.name, "error": str(error)}
            _LOG.warning("advice on the MIG profile was not written", extra=where)


async def _label_nodes(view: snapshot.Snapshot, runtime: Runtime) -> None:
    """A few nodes in each pass; the labels only advise, so one that cannot be written is left."""
    if not runtime.settings.mig_prefer_nodes:
        return
    patches = slicechoice.plan_labels(view, runtime.settings.mig_plugin_policy)
    for patch in patches[:_LABELLED_AT_A_TIME]:
        try:
            await nodes.label(runtime.client, patch.node, patch.labels)
        except (kube.NotFound, kube.Conflict, kube.Refused) as error:
            _LOG.warning("a node was not labelled", extra={"node": patch.node, "error": str(error)})


async def _tell(written: Mapping[str, Any], wanted: assignment.Assignment, runtime: Runtime) -> None:
    """After the write: an Event never announces what status does not say."""
    for event in wanted.events:
        metrics.AUTOSCALER_DECISIONS.labels(event.reason).inc()
        try:
            await runtime.events.write(written, event)
        except kube.ApiError as error:
            _LOG.warning("an Event was not written", extra={"reason": event.reason, "error": str(error)})
