"""What Pod Security asks of a pod at level `restricted` (kubernetes.io, "Pod Security Standards")."""

from __future__ import annotations

from typing import Any

VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected",
    "secret",
}  # fmt: skip
HOST_FIELDS = ("hostNetwork", "hostPID", "hostIPC", "hostUsers")


def find_violations(pod: dict[str, Any]) -> list[str]:
    """Every rule of the level that this pod spec breaks."""
    context = pod.get("securityContext", {})
    found = [f"pod sets {field}" for field in HOST_FIELDS if field in pod]
    found += [
        f"volume {volume['name']} is a {kind}"
        for volume in pod.get("volumes", [])
        for kind in volume.keys() - {"name"} - VOLUMES
    ]
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        found += [f"{container['name']}: {broken}" for broken in _check_container(container, context)]
    return found


def _check_container(container: dict[str, Any], pod: dict[str, Any]) -> list[str]:
    own = container.get("securityContext", {})
    effective = {**pod, **own}
    capabilities = own.get("capabilities", {})
    broken = {
        "may gain privileges": own.get("allowPrivilegeEscalation") is not False,
        "is privileged": own.get("privileged", False),
        "keeps capabilities": capabilities.get("drop") != ["ALL"],
        "adds capabilities": not set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"},
        "may run as root": effective.get("runAsNonRoot") is not True or effective.get("runAsUser") == 0,
        "has no seccomp profile": effective.get("seccompProfile", {}).get("type")
        not in ("RuntimeDefault", "Localhost"),
        "sets procMount": "procMount" in own,
        "uses a host port": any("hostPort" in port for port in container.get("ports", [])),
    }
    return [rule for rule, is_broken in broken.items() if is_broken]
