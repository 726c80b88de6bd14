"""Which pod holds which device, from the kubelet's answers; pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from gpufleet.agents.node import hardware
from gpufleet.kubelet import podresources_pb2 as pb

_PREFIXES = ("nvidia.com/gpu", "nvidia.com/mig-")
_DRA_DRIVER = "gpu.nvidia.com"


@dataclasses.dataclass(frozen=True, slots=True)
class Held:
    """A device that a pod holds. `id` is the plugin's: a UUID, or an index (`1`, or `1:0` for a slice)."""

    id: str
    pod: str


def read_held(response: pb.ListPodResourcesResponse) -> tuple[Held, ...]:
    """All held GPUs and slices, sorted.

    A pod is namespace/name/uid with the uid left empty: PodResources v1 does not tell it.
    """
    found = {
        Held(device_id, f"{pod.namespace}/{pod.name}/")
        for pod in response.pod_resources
        for container in pod.containers
        for device_id in _ids(container)
    }
    return tuple(sorted(found, key=lambda one: (one.id, one.pod)))


def lists(response: pb.ListPodResourcesResponse, pod: str) -> bool:
    """Whether the kubelet knows this pod, given as namespace/name; it lists those without devices as well."""
    return any(f"{one.namespace}/{one.name}" == pod for one in response.pod_resources)


def _ids(container: pb.ContainerResources) -> Iterator[str]:
    for devices in container.devices:
        if devices.resource_name.startswith(_PREFIXES):
            # What is shared in time has a replica's number behind its id.
            yield from (one.partition("::")[0] for one in devices.device_ids)
    for claimed in container.dynamic_resources:
        for one in claimed.claim_resources:
            if one.driver_name == _DRA_DRIVER:
                yield f"{one.driver_name}/{one.device_name}"


def read_offered(response: pb.AllocatableResourcesResponse) -> hardware.Offered:
    """Ids of GPUs and slices per resource, sorted."""
    found: dict[str, set[str]] = {}
    for devices in response.devices:
        if devices.resource_name.startswith(_PREFIXES):
            found.setdefault(devices.resource_name, set()).update(devices.device_ids)
    return {resource: sorted(ids) for resource, ids in sorted(found.items())}
