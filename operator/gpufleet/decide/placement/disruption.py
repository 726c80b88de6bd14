"""The disruption budget: GPUs that are given up within an hour, by whatever act, in the whole fleet.

All of it is counted from what the cluster shows (records of services and gangs, marks on Nodes), so that a
restart forgets nothing. What is only advised gives nothing up.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from gpufleet.api import accelerator as accelerators
from gpufleet.api import reasons, training_job, triton_service
from gpufleet.decide.autoscaling import record, scaler
from gpufleet.state import fleet, mig, names, snapshot

Act = Literal["ScaleDown", "Preemption", "Repartition"]
ACTS: tuple[Act, ...] = ("ScaleDown", "Preemption", "Repartition")
_WORDS: Mapping[Act, str] = {
    "ScaleDown": "scaling",
    "Preemption": "preemption",
    "Repartition": "repartition",
}
_SLICE = re.compile(r"/mig-([1-7])g\.")
_SLICES_OF_A_GPU = 7
_TINY = 1e-9


@dataclasses.dataclass(frozen=True, slots=True)
class Ledger:
    """GPUs given up within the hour, by act; of `limit_gpus` per hour, 0 is no limit."""

    limit_gpus: float = 0.0
    spent: Mapping[Act, float] = dataclasses.field(default_factory=dict)

    @property
    def left_gpus(self) -> float:
        """What may still be given up; infinite without a limit."""
        if self.limit_gpus <= 0:
            return math.inf
        return max(0.0, self.limit_gpus - math.fsum(self.spent.values()))

    def allows(self, gpus: float) -> bool:
        return gpus <= self.left_gpus + _TINY

    def count(self, each_gpus: float) -> float:
        """How many of this size may go; infinite without a limit."""
        return math.floor(self.left_gpus / each_gpus + _TINY) if math.isfinite(self.left_gpus) else math.inf

    def take(self, act: Act, gpus: float) -> Ledger:
        """With so much given up now."""
        return dataclasses.replace(self, spent={**self.spent, act: self.spent.get(act, 0.0) + gpus})

    def explain(self) -> str:
        """What is left, and who has used the rest."""
        used = ", ".join(f"{_WORDS[act]} {self.spent.get(act, 0.0):.1f}" for act in ACTS)
        return (
            f"of {self.limit_gpus:g} GPUs per hour {self.left_gpus:.1f} may still be given up; "
            f"within the hour have gone by {used}"
        )

    def to_wire(self) -> dict[str, Any]:
        """For the read API; without a limit nothing is said of what is left."""
        limited = {"limitGpusPerHour": self.limit_gpus, "leftGpus": round(self.left_gpus, 3)}
        spent = {act: round(self.spent.get(act, 0.0), 3) for act in ACTS}
        return {**(limited if self.limit_gpus > 0 else {"limitGpusPerHour": None}), "spentGpus": spent}


def read(view: snapshot.Snapshot, limit_gpus: float, now: datetime.datetime) -> Ledger:
    """As the cluster shows it."""
    since = now - datetime.timedelta(seconds=scaler.BUDGET_S)
    return Ledger(
        limit_gpus,
        {
            "ScaleDown": math.fsum(_count_scaled(one, now) for one in view.services),
            "Preemption": math.fsum(_count_taken(one, since) for one in view.jobs),
            "Repartition": float(sum(count_cut(one, since) for one in view.nodes)),
        },
    )


def count_gpus(assigned: accelerators.AssignedAccelerator | None) -> float:
    """GPUs of one server; a slice counts by its compute slices, of which a GPU has seven."""
    if assigned is None:
        return 0.0
    found = _SLICE.search(assigned.resource)
    return assigned.count * (int(found[1]) / _SLICES_OF_A_GPU if found else 1.0)


def is_record_full(service: triton_service.TritonService, now: datetime.datetime) -> bool:
    """Whether decisions to come could push one out of the record that still counts."""
    told = service.status.autoscaling
    return told is not None and sum(record.counts(one, now) for one in told.decisions) >= record.KEPT - 1


def _count_scaled(service: triton_service.TritonService, now: datetime.datetime) -> float:
    told, assignment = service.status.autoscaling, service.status.assignment
    if told is None or told.mode != "Active" or assignment is None:
        return 0.0
    gone = sum(one.before - one.replicas for one in told.decisions if record.counts(one, now))
    return gone * count_gpus(assignment.accelerator)


def shed_lately(given: training_job.JobAssignment, since: datetime.datetime) -> int:
    """Workers that a gang has given up for others, as its assignment tells."""
    return given.shed_workers if given.resized_at is not None and given.resized_at > since else 0


def _count_taken(job: training_job.TrainingJob, since: datetime.datetime) -> float:
    """A gang that was ended tells of it in its assignment until it starts again, and then in its history."""
    given, history = job.status.assignment, job.status.history
    if given is None or (given.resized_at is None and not history):
        return 0.0
    told = shed_lately(given, since)
    is_told = given.resized_at is not None and given.resized_at > since
    ended = (
        one.workers
        for one in history
        if one.ended_by == "Preempted"
        and one.end_time > since
        and not (is_told and given.reason == reasons.PREEMPTED and one is history[0])
    )
    return (sum(ended) + told) * count_gpus(given.accelerator)


def count_cut(node: fleet.Node, since: datetime.datetime) -> int:
    """GPUs that changes of the layout have taken away; those of a change under way count all the while."""
    cuts, change = _read_cuts(node), _read_change(node)
    made = [one for one in cuts.made if one.at > since]
    if change is None or any(one.at >= change.began for one in made):
        return sum(one.gpus for one in made)
    return sum(one.gpus for one in made) + change.gpus


def _read_cuts(node: fleet.Node) -> mig.Cuts:
    """Nothing where somebody else has written the mark."""
    text = node.annotations.get(names.MIG_CUTS_ANNOTATION)
    try:
        return mig.Cuts.from_text(text) if text is not None else mig.NO_CUTS
    except mig.RecordError:
        return mig.NO_CUTS


def _read_change(node: fleet.Node) -> mig.Change | None:
    text = node.annotations.get(names.MIG_CHANGE_ANNOTATION)
    try:
        return mig.Change.from_text(text) if text is not None else None
    except mig.RecordError:
        return None


def limit_shrinking(
    services: Iterable[triton_service.TritonService],
    scalings: Mapping[str, scaler.Scaling],
    ledger: Ledger,
    now: datetime.datetime,
) -> tuple[Mapping[str, scaler.Scaling], Ledger]:
    """The scalings as far as the budget lets servers go, and what is left of it then."""
    after = dict(scalings)
    for service in services:
        scaling = scalings.get(service.metadata.uid)
        assigned = service.status.assignment.accelerator if service.status.assignment else None
        each = count_gpus(assigned)
        if scaling is None or scaling.mode != "Active" or scaling.replicas >= scaling.before or not each:
            continue
        fewer = min(scaling.before - scaling.replicas, ledger.count(each))
        message = ""
        if ledger.limit_gpus > 0 and is_record_full(service, now):
            fewer, message = 0, f"it has shrunk {record.KEPT - 1} times within the hour; "
        ledger = ledger.take("ScaleDown", fewer * each)
        left = int(scaling.before - fewer)
        after[service.metadata.uid] = scaling.clamp(
            scaler.DISRUPTION_BUDGET, left, message + ledger.explain()
        )
    return after, ledger
