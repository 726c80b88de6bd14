"""One object: observe → decide → apply → report."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Mapping
from typing import Any

import pydantic

from gpufleet import kube
from gpufleet.api import gpu_pool, meta, reasons, training_job, triton_service
from gpufleet.apply import children
from gpufleet.decide import status as statuses
from gpufleet.decide.placement import pool as pools
from gpufleet.decide.serving import service as services
from gpufleet.decide.training import job as jobs
from gpufleet.report import metrics
from gpufleet.runtime import Key, Runtime
from gpufleet.state import decision

_LOG = logging.getLogger(__name__)
_MAIN_CONDITION = {
    triton_service.KIND: reasons.READY,
    training_job.KIND: reasons.SUCCEEDED,
    gpu_pool.KIND: reasons.READY,
}
_CONFLICT_RETRY_S = 30.0
_LEAVING_RETRY_S = 2.0


async def reconcile(key: Key, runtime: Runtime) -> float | None:
    """Brings one object one step on. Returns seconds until it wants another look, None where events tell.

    Raises kube.ApiError where a later try may succeed.
    """
    raw = runtime.cluster.read_raw(*key)
    if raw is None or raw["metadata"].get("deletionTimestamp"):
        return None
    with metrics.RECONCILE_SECONDS.labels(key.kind).time():
        try:
            decided = _decide(key, runtime)
        except pydantic.ValidationError as error:
            await _stall(raw, reasons.INVALID_SPEC, _explain(error), runtime)
            return None
        if decided is None:
            return None
        for question in decided.questions:
            runtime.worker.ask(question, functools.partial(runtime.cluster.mark_dirty, key))
        try:
            await children.apply(runtime.client, runtime.cluster, raw, decided)
        except children.ChildLeavingError as error:
            _LOG.info("waiting: %s", error, extra={"kind": key.kind, "object": key.name})
            await _report(raw, decided, runtime)
            return _LEAVING_RETRY_S
        except children.ChildConflictError as error:
            await _stall(raw, reasons.CONFLICT, str(error), runtime)
            return _CONFLICT_RETRY_S
        except kube.Refused as error:
            await _stall(raw, reasons.WRITE_REFUSED, error.message, runtime)
            return _CONFLICT_RETRY_S
        return await _report(raw, decided, runtime)


def _decide(key: Key, runtime: Runtime) -> decision.Decision | None:
    now = runtime.clock.now()
    if key.kind == triton_service.KIND:
        service = runtime.cluster.read_service(key.namespace, key.name)
        if service is None:
            return None
        asking = dataclasses.replace(service, answers=runtime.worker.answers)
        return services.decide(asking, runtime.settings, now)
    if key.kind == training_job.KIND:
        job = runtime.cluster.read_job(key.namespace, key.name)
        return jobs.decide(job, runtime.settings, now) if job else None
    pool = runtime.cluster.read_pool(key.name)
    return pools.decide(pool, runtime.cluster.read_snapshot(), now) if pool else None


async def _report(raw: Mapping[str, Any], decided: decision.Decision, runtime: Runtime) -> float | None:
    """Status first, then Events about it: an Event never announces what status does not say."""
    try:
        written, due_s = await runtime.status.write(raw, decided.status)
    except kube.NotFound:
        metadata = raw["metadata"]
        runtime.cluster.note_gone(
            raw["kind"], metadata.get("namespace", ""), metadata["name"], metadata["uid"]
        )
        return None
    if written is not None:
        runtime.cluster.note_written(written)
    if due_s:
        return due_s
    for event in decided.events:
        try:
            await runtime.events.write(raw, event)
        except kube.ApiError as error:
            _LOG.warning("an Event was not written", extra={"reason": event.reason, "error": str(error)})
    return decided.requeue_after_s


async def _stall(raw: Mapping[str, Any], reason: str, message: str, runtime: Runtime) -> None:
    """Says on the object why it cannot proceed; all it has keeps running."""
    metadata = meta.ObjectMeta.model_validate(raw["metadata"])
    before = raw.get("status") or {}
    old = [meta.Condition.model_validate(one) for one in before.get("conditions", ())]
    main = _MAIN_CONDITION[raw["kind"]]
    status = statuses.stalled(metadata, old, main, reason, message, runtime.clock.now())
    new = [meta.Condition.model_validate(one) for one in status["conditions"]]
    told = statuses.events_of_change(old, new)
    await _report(raw, decision.Decision({**before, **status}, events=told), runtime)


def _explain(error: pydantic.ValidationError) -> str:
    """The first fault, as `spec.field: what is wrong`, and how many there are."""
    faults = error.errors(include_url=False, include_context=False)
    first = faults[0]
    where = ".".join(str(part) for part in first["loc"])
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{where}: {first['msg']}{more}"
