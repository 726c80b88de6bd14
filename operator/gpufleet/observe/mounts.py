"""Why volumes cannot be mounted: a pod's status says only that its containers are being created.

The kubelet tells the reason in Events alone, so those of this one reason are watched.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gpufleet import clock, kube
from gpufleet.observe import informer, store
from gpufleet.state import fleet

_SELECTOR = "reason=FailedMount,type=Warning"
_TIMED_OUT = "timed out waiting for the condition"
"""What a busy kubelet says of volumes that it can mount as well as of those that it never will."""
_STARTING = frozenset({"ContainerCreating", "PodInitializing"})


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """One Event about one pod."""

    pod_uid: str
    namespace: str
    pod: str
    message: str


def decode(raw: dict[str, Any]) -> Failure | None:
    """None for what is not about a pod."""
    about = raw.get("involvedObject") or {}
    if about.get("kind") != "Pod" or not about.get("uid"):
        return None
    message = " ".join(str(raw.get("message", "")).split())
    return Failure(about["uid"], about.get("namespace", ""), about.get("name", ""), message[:512])


class Mounts:
    """`on_change` hears the pod's namespace and name."""

    def __init__(
        self,
        client: kube.Client,
        on_change: Callable[[str, str], None],
        time_source: clock.Clock | None = None,
        namespaces: Sequence[str] = ("",),
    ) -> None:
        self._failures = store.Store(
            decode, lambda one: (one.pod_uid,), lambda one: on_change(one.namespace, one.pod)
        )
        self.informer = informer.Informer(
            client,
            "v1",
            "Event",
            self._failures,
            time_source=time_source,
            field_selector=_SELECTOR,
            namespaces=namespaces,
        )

    def explain(self, pods: Iterable[fleet.Pod]) -> tuple[fleet.Pod, ...]:
        """The pods, those that are still being created with what keeps their volumes away."""
        return tuple(self._explain(pod) for pod in pods)

    def _explain(self, pod: fleet.Pod) -> fleet.Pod:
        is_starting = any(one.waiting_reason in _STARTING for one in pod.containers)
        known = [one.message for one in self._failures.group(pod.uid)] if is_starting else []
        if not known:
            return pod
        told = next((one for one in reversed(known) if _TIMED_OUT not in one), known[-1])
        return dataclasses.replace(pod, mount_message=told)
