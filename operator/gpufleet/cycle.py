"""The whole fleet: observe → decide → apply → report, one run at a time."""

from __future__ import annotations

import logging

from gpufleet import kube
from gpufleet.apply import assignments
from gpufleet.decide.placement import assign
from gpufleet.report import metrics
from gpufleet.runtime import Runtime

_LOG = logging.getLogger(__name__)


async def run_once(runtime: Runtime) -> None:
    """Gives every object the assignment that it should have now.

    One object that cannot be written holds up no other. Raises kube.Unavailable: the next run tries again.
    """
    with metrics.CYCLE_SECONDS.time():
        for wanted in assign.assign(runtime.cluster.read_snapshot()):
            try:
                runtime.cluster.note_written(await assignments.apply(runtime.client, wanted))
            except kube.NotFound:
                runtime.cluster.note_gone(wanted.kind, wanted.namespace, wanted.name, wanted.uid)
            except (kube.Conflict, kube.Refused) as error:
                about = {"kind": wanted.kind, "namespace": wanted.namespace, "object": wanted.name}
                _LOG.warning("an assignment was not written", extra={**about, "error": str(error)})
