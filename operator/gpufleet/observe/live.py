"""What children show of an assignment that was lost: replicas and workers as they run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gpufleet.decide.training import progress as estimates
from gpufleet.observe import store
from gpufleet.state import fleet, names, progress

_OVER = frozenset({"Complete", "Failed", "FailureTarget"})


def replicas(deployments: store.Store[store.Raw]) -> Mapping[str, int]:
    """Replicas that an owner's Deployments ask for together, by its UID."""
    return {
        uid: sum(int(one["spec"].get("replicas", 1)) for one in owned) for uid, owned in _owned(deployments)
    }


def workers(jobs: store.Store[store.Raw]) -> Mapping[str, int]:
    """Parallelism of the newest Job of an owner, by its UID; one that is over holds nothing."""
    newest = ((uid, owned[-1]) for uid, owned in _owned(jobs))
    return {uid: int(job["spec"].get("parallelism", 1)) for uid, job in newest if not _is_over(job)}


def left_s(
    reports: Mapping[str, progress.Progress], pods: Iterable[fleet.Pod], jobs: Iterable[Any]
) -> Mapping[str, float]:
    """In how many seconds jobs end by what their workers 0 have reported, by the job's UID."""
    if not reports:
        return {}
    uids = {(job.metadata.namespace, job.metadata.name): job.metadata.uid for job in jobs}
    found = {}
    for pod in pods:
        known = reports.get(pod.uid)
        uid = uids.get((pod.namespace, pod.labels.get(names.JOB_LABEL, "")))
        eta_s = estimates.find_eta_s(known) if known else None
        if uid is not None and eta_s is not None:
            found[uid] = eta_s
    return found


def priorities(classes: Iterable[fleet.Priority]) -> Mapping[str, int]:
    """Values by name, that of the default under the empty name: of two the lower, as the API server does."""
    known = list(classes)
    default = min((one.value for one in known if one.is_default), default=0)
    return {**{one.name: one.value for one in known}, "": default}


def _owned(held: store.Store[store.Raw]) -> Iterator[tuple[str, list[store.Raw]]]:
    """An owner's children, the newest last, by its UID. Most jobs of a long queue have none."""
    for uid in sorted(map(str, held.groups())):
        if owned := held.group(uid):
            in_order = sorted(owned, key=lambda raw: str(raw["metadata"].get("creationTimestamp", "")))
            yield uid, in_order


def _is_over(job: store.Raw) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(one["type"] in _OVER and one["status"] == "True" for one in conditions)
