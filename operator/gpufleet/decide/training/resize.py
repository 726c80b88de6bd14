"""A gang that runs with another size than it has been assigned.

torchrun with an elastic rendezvous goes on when workers come or go: its Job is resized. Others are told their
size when they start, and start again from the checkpoint. So does a gang that grows onto nodes that the pods
of its Job may not use, since their template cannot change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpufleet.api import training_job
from gpufleet.decide.training import failure, history, layout, pod
from gpufleet.state import children, view


def find_size(view: view.JobView, newest: children.Child) -> int | None:
    """The size that the attempt should have and has not; None where nothing is to change."""
    job = view.job
    given = job.status.assignment
    if given is None or not given.workers or job.spec.queue or job.spec.suspend:
        return None
    wanted = layout.count_workers(job, given.workers, max(1, history.count_devices(job)))
    return None if wanted == read_size(newest) else wanted


def is_in_place(job: training_job.TrainingJob, newest: children.Child, size: int) -> bool:
    """Whether the Job can get the size while it runs."""
    given = job.status.assignment
    anywhere = given is not None and given.placement is None
    return is_elastic(job) and (size < read_size(newest) or anywhere)


def is_elastic(job: training_job.TrainingJob) -> bool:
    """Whether workers find out themselves how many they are."""
    return job.spec.torch is not None and job.spec.torch.rendezvous == "Elastic"


def find_ending(view: view.JobView, newest: children.Child) -> failure.Failure | None:
    """The attempt ends, to start again at its new size."""
    if _is_misplaced(view, newest):
        return failure.Failure("PlacesLost", "it has got other nodes than its pods may run on")
    size = find_size(view, newest)
    if size is None or is_in_place(view.job, newest, size):
        return None
    given = view.job.status.assignment
    why = f": {given.message}" if given and given.message else ""
    return failure.Failure("Resized", f"from {read_size(newest)} workers to {size}{why}")


def _is_misplaced(view: view.JobView, newest: children.Child) -> bool:
    """Whether pods wait for nodes that are no longer theirs: the gang was moved as its Job was made."""
    given = view.job.status.assignment
    if given is None or given.placement is None or view.job.spec.queue:
        return False
    if all(one.node for one in failure.pods_of(view, newest)):
        return False
    wanted = _read_terms(pod.build_affinity(given.accelerator, given.placement) or {})
    made = _read_terms(newest.body["spec"].get("template", {}).get("spec", {}).get("affinity", {}))
    return any(term not in made for term in wanted)


def _read_terms(affinity: Mapping[str, Any]) -> list[Any]:
    required = affinity.get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", {})
    terms: list[Any] = required.get("nodeSelectorTerms", [])
    return terms


def read_size(newest: children.Child) -> int:
    """Workers of the attempt."""
    return int(newest.body["spec"].get("parallelism", 0))
