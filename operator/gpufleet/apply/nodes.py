"""Writes on Nodes: labels that advise, and a repartition's taint, label and record, evictions, file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpufleet import kube
from gpufleet.decide.mig.repartition import configs, steps
from gpufleet.state import fleet, names

_NO_SCHEDULE = "NoSchedule"


async def label(client: kube.Client, node: str, labels: Mapping[str, str | None]) -> None:
    """Sets labels, and removes those that are None. Raises kube.ApiError."""
    path = kube.path("v1", "Node", name=node)
    await client.merge_patch(path, {"metadata": {"labels": dict(labels)}}, manager=names.CYCLE_FIELD_MANAGER)


async def patch(client: kube.Client, live: Mapping[str, Any], wanted: steps.Patch) -> Mapping[str, Any]:
    """The Node as it is then. Raises kube.ApiError; Conflict where it is not what was read any more."""
    metadata = live["metadata"]
    body: dict[str, Any] = {
        "metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
    }
    if wanted.annotations:
        body["metadata"]["annotations"] = dict(wanted.annotations)
    if wanted.labels:
        body["metadata"]["labels"] = dict(wanted.labels)
    if wanted.fence is not None:
        body["spec"] = {"taints": _fence(live, stands=wanted.fence)}
    path = kube.path("v1", "Node", name=metadata["name"])
    return await client.merge_patch(path, body, manager=names.CYCLE_FIELD_MANAGER)


def _fence(live: Mapping[str, Any], *, stands: bool) -> list[dict[str, Any]]:
    """All taints of others as they are: a list is written whole."""
    others = [
        one for one in live.get("spec", {}).get("taints") or () if one["key"] != names.REPARTITION_TAINT
    ]
    return [*others, {"key": names.REPARTITION_TAINT, "effect": _NO_SCHEDULE}] if stands else others


async def evict(client: kube.Client, pod: fleet.Pod) -> str:
    """Asks a pod to go; why it may not, empty where it goes. Raises kube.ApiError.

    429 is a PodDisruptionBudget; 500 is more than one of them for one pod, which the API server cannot weigh.
    """
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod.name, "namespace": pod.namespace},
        "deleteOptions": {"preconditions": {"uid": pod.uid}},
    }
    try:
        await client.create(kube.path("v1", "Pod", pod.namespace, pod.name, "eviction"), body)
    except kube.NotFound:
        return ""
    except kube.ApiError as error:
        if error.status in (409, 429, 500):
            return f"{pod.namespace}/{pod.name}: {error.message}"
        raise
    return ""


async def write_file(
    client: kube.Client, namespace: str, name: str, needs: configs.Needs
) -> Mapping[str, Any] | None:
    """mig-manager's ConfigMap with what nodes need, beside what is there now; None where it is so already.

    Raises kube.ApiError, Conflict where somebody has written it meanwhile, and configs.ConfigFileError.
    """
    path = kube.path("v1", "ConfigMap", namespace, name)
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": namespace,
        "labels": {names.MANAGED_BY: names.MANAGER},
    }
    live: Mapping[str, Any] | None = None
    try:
        live = await client.get(path)
        metadata |= {key: live["metadata"][key] for key in ("uid", "resourceVersion")}
    except kube.NotFound:
        pass
    text = (live.get("data") or {}).get(configs.KEY) if live else None
    labels = (live["metadata"].get("labels") or {}) if live else {}
    wanted = configs.plan_write(text, labels, needs)
    if wanted is None:
        return None
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {configs.KEY: wanted}}
    return await client.apply(path, body, manager=names.CYCLE_FIELD_MANAGER, force=True)
