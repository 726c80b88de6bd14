"""Why pods are not what they should be, from what kubelet and scheduler say about them."""

from __future__ import annotations

from collections.abc import Iterable

from gpufleet.api import reasons
from gpufleet.state import fleet

_PULL = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
_CRASH = frozenset(
    {"CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)


def diagnose(pods: Iterable[fleet.Pod]) -> tuple[str, str] | None:
    """The most telling (reason, message) among pods that are not ready; None where they may just need time."""
    found = [finding for pod in sorted(pods, key=lambda pod: pod.name) if (finding := _diagnose_pod(pod))]
    return min(found, key=lambda finding: _ORDER.index(finding[0])) if found else None


_ORDER = (reasons.IMAGE_PULL_FAILED, reasons.CONTAINER_CRASHING, reasons.PODS_UNSCHEDULABLE)


def _diagnose_pod(pod: fleet.Pod) -> tuple[str, str] | None:
    for container in pod.containers:
        if container.waiting_reason in _PULL:
            return (
                reasons.IMAGE_PULL_FAILED,
                f"container {container.name} cannot get its image ({container.waiting_reason}): {container.message}; "
                "check the image's name and imagePullSecrets",
            )
        if container.waiting_reason in _CRASH:
            return reasons.CONTAINER_CRASHING, _describe_crash(container)
    if pod.unschedulable_message:
        return reasons.PODS_UNSCHEDULABLE, f"no node takes the pod: {pod.unschedulable_message}"
    return None


def _describe_crash(container: fleet.ContainerState) -> str:
    code = "" if container.exit_code is None else f", last exit code {container.exit_code}"
    why = f" ({container.terminated_reason})" if container.terminated_reason else ""
    said = f": {container.message}" if container.message else ""
    return f"container {container.name} does not stay up, {container.waiting_reason}{code}{why}{said}; see its logs"
