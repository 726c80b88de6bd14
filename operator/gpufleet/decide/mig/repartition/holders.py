"""Who holds which GPU of a node, as its device map and its pods say together."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable

from gpufleet.decide.mig import catalogue, devices
from gpufleet.state import devices as published
from gpufleet.state import fleet


@dataclasses.dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a GPU: a pod, or the name of one that the API server does not show."""

    name: str
    pod: fleet.Pod | None = None

    @property
    def can_go(self) -> bool:
        return self.pod is not None and self.pod.evictable

    @property
    def is_leaving(self) -> bool:
        return self.pod is not None and self.pod.deleting


def find(
    found: published.DeviceMap, bound: Iterable[fleet.Pod]
) -> tuple[dict[int, tuple[Holder, ...]], tuple[Holder, ...]]:
    """Holders by GPU as the map has them; a pod that it does not account for in full may hold any GPU."""
    pods = {name_of(pod): pod for pod in bound}
    holders: dict[int, tuple[Holder, ...]] = {}
    seen: collections.Counter[str] = collections.Counter()
    for gpu in found.gpus:
        here: dict[str, Holder] = {}
        for text in gpu.pods:
            name, uid = _split(text)
            pod = pods.get(name)
            is_same = pod is not None and uid in ("", pod.uid)
            seen[name] += is_same
            here[name] = Holder(name, pod if is_same else None)
        holders[gpu.index] = tuple(here[name] for name in sorted(here))
    strangers = [Holder(name, pod) for name, pod in sorted(pods.items()) if seen[name] < _count_devices(pod)]
    return holders, tuple(strangers)


def _split(text: str) -> tuple[str, str]:
    namespace, _, rest = text.partition("/")
    name, _, uid = rest.partition("/")
    return f"{namespace}/{name}", uid


def name_of(pod: fleet.Pod) -> str:
    return f"{pod.namespace}/{pod.name}"


def asks_for_gpus(pod: fleet.Pod) -> bool:
    return _count_devices(pod) > 0


def _count_devices(pod: fleet.Pod) -> int:
    return sum(
        number
        for name, number in pod.requests.items()
        if name == devices.GPU_RESOURCE or name.startswith(catalogue.MIG_RESOURCE_PREFIX)
    )
