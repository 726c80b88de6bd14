"""Why pods are not what they should be, from what kubelet and scheduler say about them.

What is said does not change while a container goes through its cycle of starting, ending and waiting: the
kubelet's own words about the cycle, such as its back-off, are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from gpufleet.api import reasons
from gpufleet.state import fleet

_PULL = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
_CANNOT_START = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_CRASH_LOOP = "CrashLoopBackOff"
_PULL_ERROR = "ErrImagePull: "
_BACK_OFF = "back-off "
_MANY_RESTARTS = 2
# What glog puts before a line: another time and process at each start.
_LOG_PREFIX = re.compile(r"^[IWEF]\d{4} [\d:.]+ +\d+ ")
_ORDER = (
    reasons.IMAGE_PULL_FAILED,
    reasons.CONTAINER_CRASHING,
    reasons.MOUNT_FAILED,
    reasons.PODS_UNSCHEDULABLE,
)


def diagnose(pods: Iterable[fleet.Pod]) -> tuple[str, str] | None:
    """The most telling (reason, message) among pods that are not ready; None where they may need time."""
    found = [finding for pod in sorted(pods, key=lambda pod: pod.name) if (finding := _diagnose_pod(pod))]
    if not found:
        return None
    reason, message = min(found, key=lambda finding: _ORDER.index(finding[0]))
    alike = sum(other == reason for other, _ in found)
    return reason, f"{message} ({alike} pods)" if alike > 1 else message


def _diagnose_pod(pod: fleet.Pod) -> tuple[str, str] | None:
    for container in pod.containers:
        if container.waiting_reason in _PULL:
            return reasons.IMAGE_PULL_FAILED, _describe_pull(container)
        if container.waiting_reason in _CANNOT_START:
            return reasons.CONTAINER_CRASHING, _describe_start(container)
        if container.waiting_reason == _CRASH_LOOP or container.restarts >= _MANY_RESTARTS:
            return reasons.CONTAINER_CRASHING, _describe_crash(container)
    if pod.mount_message:
        return (
            reasons.MOUNT_FAILED,
            f"a volume cannot be mounted: {pod.mount_message}; create what is missing, or correct its name",
        )
    if pod.unschedulable_message:
        return (
            reasons.PODS_UNSCHEDULABLE,
            f"no node takes the pod: {pod.unschedulable_message}; free or add capacity, or ask for less",
        )
    return None


def _describe_pull(container: fleet.ContainerState) -> str:
    """Between two attempts the kubelet wraps the error into its back-off."""
    _, _, inner = container.message.rpartition(_PULL_ERROR)
    return (
        f"container {container.name} cannot get its image: {inner or container.waiting_reason}; "
        "check the image's name and imagePullSecrets"
    )


def _describe_start(container: fleet.ContainerState) -> str:
    return f"container {container.name} cannot start ({container.waiting_reason}): {container.message}"


def _describe_crash(container: fleet.ContainerState) -> str:
    code = "" if container.exit_code is None else f" with exit code {container.exit_code}"
    why = f" ({container.terminated_reason})" if container.terminated_reason else ""
    message = "" if container.message.startswith(_BACK_OFF) else _last_words(container.message)
    said = f": {message}" if message else ""
    return f"container {container.name} keeps ending{code}{why}{said}; see its logs"


def _last_words(message: str) -> str:
    """The kubelet gives the end of the log; its last line says why, and says the same at each end."""
    lines = message.strip().splitlines()
    return _LOG_PREFIX.sub("", lines[-1].strip()) if lines else ""
