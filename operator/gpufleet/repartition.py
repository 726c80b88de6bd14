"""MIG layouts of the whole fleet: observe → decide → apply → report, one look at a time."""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections.abc import Mapping
from typing import Any

from gpufleet import kube
from gpufleet.api import gpu_pool
from gpufleet.apply import nodes
from gpufleet.apply import pools as statuses
from gpufleet.decide.mig.repartition import configs, rounds, steps
from gpufleet.decide.placement import disruption
from gpufleet.observe import nodes as live
from gpufleet.report import metrics
from gpufleet.report import repartition as telling
from gpufleet.runtime import Runtime
from gpufleet.state import snapshot

_LOG = logging.getLogger(__name__)
_TELL_REFUSAL_S = 1.0
"""What the API server has said of an eviction is told by the next look."""


async def run_once(runtime: Runtime) -> float | None:
    """One look at all MIG layouts: plan, carry out a step per node, tell. Seconds until time tells more.

    A node that cannot be written holds up no other. Raises kube.Unavailable: the next look tries again.
    """
    view, now = runtime.cluster.read_snapshot(), runtime.clock.now()
    if rounds.is_idle(view):
        await _forget_status(runtime, view)
        runtime.round, runtime.refused = None, {}
        return None
    with metrics.MIG_ROUND_SECONDS.time():
        found = await _decide(runtime, view, now)
        await _write_file(runtime, found)
        known, runtime.refused = runtime.refused, {}
        for order in found.orders:
            await _carry_out(runtime, order)
    await _tell_round(runtime, found)
    await _forget_status(runtime, view)
    runtime.round = found
    return found.again_s if runtime.refused == known else _TELL_REFUSAL_S


async def preview(runtime: Runtime) -> rounds.Round:
    """What a look would find and do now. Nothing is written."""
    return await _decide(runtime, runtime.cluster.read_snapshot(), runtime.clock.now())


async def _decide(runtime: Runtime, view: snapshot.Snapshot, now: datetime.datetime) -> rounds.Round:
    options = _read_settings(runtime)
    file = runtime.cluster.read_raw("ConfigMap", options.namespace, runtime.settings.mig_config_map)
    text = (file.get("data") or {}).get(configs.KEY) if file else None
    # Seconds for a large fleet: nobody else is kept waiting, and the view does not change.
    known = runtime.scaled.scalings, runtime.refused
    return await asyncio.to_thread(rounds.decide, view, text, now, options, *known)


def _read_settings(runtime: Runtime) -> rounds.Settings:
    given = runtime.settings
    limits = steps.Limits(
        settle_s=given.mig_settle_s,
        config_settle_s=given.mig_config_settle_s,
        confirm_s=given.mig_confirm_s,
        apply_s=given.mig_apply_s,
        hold_s=given.mig_hold_s,
    )
    return rounds.Settings(limits, given.mig_namespace, given.disruption_gpus_per_hour)


async def _write_file(runtime: Runtime, found: rounds.Round) -> None:
    if found.file is None or found.file.text is None:
        return
    namespace, name = runtime.settings.mig_namespace, runtime.settings.mig_config_map
    try:
        written = await nodes.write_file(runtime.client, namespace, name, found.needs)
        if written is not None:
            runtime.cluster.note_written(written)
    except (kube.NotFound, kube.Conflict, kube.Refused, configs.ConfigFileError) as error:
        about = {"namespace": namespace, "object": name}
        _LOG.warning("mig-manager's ConfigMap was not written", extra={**about, "error": str(error)})


async def _carry_out(runtime: Runtime, order: rounds.Order) -> None:
    """What begins takes from the disruption budget, of which the pass over the fleet may have taken since."""
    limit = runtime.settings.disruption_gpus_per_hour
    if order.step.kind != "Begin" or limit <= 0:
        return await _do(runtime, order)
    async with runtime.spending:
        ledger = disruption.read(runtime.cluster.read_snapshot(), limit, runtime.clock.now())
        if ledger.allows(order.gpus):
            return await _do(runtime, order)
    metrics.MIG_STEPS.labels("Begin", "over budget").inc()
    return None


async def _do(runtime: Runtime, order: rounds.Order) -> None:
    """Reads the node and its pods again, decides again, and does it only if that says the same."""
    kind = order.step.kind
    try:
        raw, found, pods = await live.read(runtime.client, order.node)
        [node] = runtime.cluster.fleet.claimed.join((found,))
        step = rounds.check(order, node, pods, runtime.clock.now())
        if step is None:
            metrics.MIG_STEPS.labels(kind, "outdated").inc()
            return
        # That it is given up is written before it is.
        if step.patch != steps.Patch():
            runtime.cluster.note_written(await nodes.patch(runtime.client, raw, step.patch))
        for pod in step.evict:
            refusal = await nodes.evict(runtime.client, pod)
            metrics.MIG_EVICTIONS.labels("refused" if refusal else "asked").inc()
            if refusal:
                runtime.refused[pod.uid] = refusal
                _LOG.info("a pod may not be evicted yet", extra={"object": order.node, "error": refusal})
        metrics.MIG_STEPS.labels(kind, "done").inc()
    except (kube.NotFound, kube.Conflict, kube.Refused) as error:
        metrics.MIG_STEPS.labels(kind, "refused").inc()
        _LOG.warning("a step was not done", extra={"object": order.node, "kind": kind, "error": str(error)})


async def _tell_round(runtime: Runtime, found: rounds.Round) -> None:
    """Status first, then Events; both about the pool."""
    telling.note(found)
    now = runtime.clock.now()
    for one in found.pools:
        raw = runtime.cluster.read_raw(gpu_pool.KIND, "", one.pool.metadata.name)
        old = (raw.get("status") or {}).get("mig") if raw else None
        status = runtime.teller.find_status(one.status, old, one.pool.metadata.uid, now)
        if status is not None:
            await _write_status(runtime, one.pool, status)
    for pool, event in telling.find_events(runtime.round or rounds.Round(), found):
        raw = runtime.cluster.read_raw(gpu_pool.KIND, "", pool)
        if raw is None:
            continue
        try:
            await runtime.events.write(raw, event)
        except kube.ApiError as error:
            _LOG.warning("an Event was not written", extra={"reason": event.reason, "error": str(error)})


async def _forget_status(runtime: Runtime, view: snapshot.Snapshot) -> None:
    """A pool that says nothing about MIG any more is told nothing about it."""
    for pool in view.pools:
        if pool.status.mig is not None and not rounds.is_managed(pool):
            await _write_status(runtime, pool, None)


async def _write_status(runtime: Runtime, pool: gpu_pool.GPUPool, status: Mapping[str, Any] | None) -> None:
    try:
        runtime.cluster.note_written(await statuses.apply(runtime.client, pool, status))
    except (kube.NotFound, kube.Conflict, kube.Refused) as error:
        about = {"kind": gpu_pool.KIND, "object": pool.metadata.name}
        _LOG.warning("a pool's MIG status was not written", extra={**about, "error": str(error)})
