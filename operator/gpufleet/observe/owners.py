"""Whose a pod or child is: by labels for pods, by UID for children."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gpufleet.api import training_job, triton_service
from gpufleet.observe import own, store
from gpufleet.state import children, fleet, names

_OWNER_LABELS: Mapping[str, str] = {
    names.SERVICE_LABEL: triton_service.KIND,
    names.JOB_LABEL: training_job.KIND,
}


def groups_of_pod(pod: fleet.Pod) -> Iterator[own.Key]:
    """The objects of ours that a pod works for."""
    if pod.labels.get(names.MANAGED_BY) != names.MANAGER:
        return
    for label, kind in _OWNER_LABELS.items():
        if name := pod.labels.get(label):
            yield kind, pod.namespace, name


def owners_of(raw: store.Raw) -> Iterator[str]:
    """UIDs of an object's owners."""
    return (owner["uid"] for owner in raw["metadata"].get("ownerReferences", ()))


def child_of(raw: store.Raw, api_version: str, kind: str, owner_uid: str) -> children.Child:
    """A live object as decisions see it."""
    metadata = raw["metadata"]
    return children.Child(
        api_version=api_version,
        kind=kind,
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        owner_uid=owner_uid,
        body=raw,
    )
