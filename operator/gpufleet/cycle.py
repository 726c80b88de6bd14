"""The whole fleet: observe → decide → apply → report, one run at a time."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

from gpufleet import kube
from gpufleet.apply import assignments
from gpufleet.decide.autoscaling import memories
from gpufleet.decide.placement import assign, brakes, release
from gpufleet.report import metrics
from gpufleet.report import scaling as telemetry
from gpufleet.runtime import Key, Runtime
from gpufleet.state import assignment

_LOG = logging.getLogger(__name__)


async def run_once(runtime: Runtime) -> None:
    """Gives every object the assignment that it should have now.

    One object that cannot be written holds up no other. Raises kube.Unavailable: the next run tries again.
    """
    with metrics.CYCLE_SECONDS.time():
        view, now = runtime.cluster.read_snapshot(), runtime.clock.now()
        found = memories.scale_all(view, runtime.look, runtime.scaled.memories, now, runtime.worker.answers)
        runtime.scaled = found
        for question in found.questions:
            runtime.worker.ask(question, runtime.wake_cycle)
        plan = assign.plan(release.leave_out(view), found.scalings, now, brakes.read(runtime.settings))
        runtime.scaled = dataclasses.replace(found, scalings=plan.scalings)
        runtime.queue = plan.queue
        telemetry.note(runtime.scaled)
        for wanted in (*release.assign(view), *plan.assignments):
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


async def _tell(written: Mapping[str, Any], wanted: assignment.Assignment, runtime: Runtime) -> None:
    """After the write: an Event never announces what status does not say."""
    for event in wanted.events:
        metrics.AUTOSCALER_DECISIONS.labels(event.reason).inc()
        try:
            await runtime.events.write(written, event)
        except kube.ApiError as error:
            _LOG.warning("an Event was not written", extra={"reason": event.reason, "error": str(error)})
