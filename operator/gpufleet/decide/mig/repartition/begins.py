"""Who may begin: changes are given out in order until a cap, mig-manager's file or the budget is full."""

from __future__ import annotations

import collections
import datetime
from collections.abc import Iterable

from gpufleet.decide.autoscaling import schedules
from gpufleet.decide.mig.repartition import configs, pools, reasons
from gpufleet.decide.mig.repartition import facts as reading
from gpufleet.decide.placement import disruption
from gpufleet.state import mig


class Begins:
    """What one round may still begin."""

    def __init__(
        self,
        nodes: Iterable[reading.Facts],
        file: configs.File | None,
        trouble: reading.Trouble | None,
        ledger: disruption.Ledger,
        now: datetime.datetime,
    ) -> None:
        self._in_flight = collections.Counter(one.change.pool for one in nodes if one.change)
        self._room = configs.LIMIT_BYTES - (file.size if file else configs.LIMIT_BYTES)
        self._trouble, self._ledger, self._now = trouble, ledger, now

    def find_against(
        self, case: pools.Case, one: reading.Facts, target: mig.Layout | None
    ) -> reading.Trouble | None:
        """Why this node may not begin; where it may, what it takes is taken."""
        against = self._trouble or _find_against(case, self._now)
        if target is None or against is not None or one.change is not None:
            return against
        pool = case.pool.metadata.name
        needed = configs.measure(target) + configs.measure(one.layout or target)
        gpus = len(one.find_affected(one.layout, target))
        if self._in_flight[pool] >= case.policy.max_nodes_in_flight:
            return _explain_cap(case)
        if needed > self._room:
            return configs.explain_full(configs.LIMIT_BYTES - self._room + needed)
        # A node that cannot begin anyway takes nothing from the others.
        if not _is_free(one, self._now):
            return None
        if not self._ledger.allows(gpus):
            return reasons.DISRUPTION_BUDGET, _explain_budget(one, gpus, self._ledger)
        self._in_flight[pool] += 1
        self._room -= needed
        self._ledger = self._ledger.take("Repartition", gpus)
        return None


def _is_free(one: reading.Facts, now: datetime.datetime) -> bool:
    """Whether nothing about the node itself stands against a change."""
    return one.problem is None and (one.hold is None or now >= one.hold.until)


def _find_against(case: pools.Case, now: datetime.datetime) -> reading.Trouble | None:
    if case.policy.act != "Active":
        return reasons.ADVISORY, "spec.mig.act is Advisory: the plan is told, and nobody carries it out"
    windows = case.policy.windows
    if windows and not any(schedules.holds(one, now) for one in windows):
        named = ", ".join(one.name for one in windows)
        return reasons.WINDOW_CLOSED, f"changes may begin in {named} only"
    return None


def _explain_cap(case: pools.Case) -> reading.Trouble:
    most = case.policy.max_nodes_in_flight
    return reasons.NODES_IN_FLIGHT, f"spec.mig.maxNodesInFlight is {most}, and so many are being changed"


def _explain_budget(one: reading.Facts, gpus: int, ledger: disruption.Ledger) -> str:
    """A change is made whole, so that one beyond the budget of an hour would wait for ever."""
    said = f"node {one.node.name}: its change takes {gpus} GPUs away for a while; {ledger.explain()}"
    if gpus > ledger.limit_gpus:
        return f"{said}: raise autoscaling.disruptionGpusPerHour to at least {gpus}"
    return said
