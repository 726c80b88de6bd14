"""The bridge between host and nodes, and the routes that keep cluster traffic on this machine."""

from __future__ import annotations

import json
import pathlib
import subprocess
from typing import Any

from gpufleet_sandbox import instance


class NetworkError(RuntimeError):
    """An address is taken, or the kernel refused; the message is the kernel's."""


def run(*argv: str, check: bool = True) -> str:
    """Standard output of a command such as ip; raises NetworkError when it fails and `check` holds."""
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    if check and result.returncode:
        raise NetworkError(f"{' '.join(argv)}: {result.stderr.strip()}")
    return result.stdout


def has_bridge(sandbox: instance.Instance) -> bool:
    return pathlib.Path("/sys/class/net", sandbox.bridge).exists()


def up(sandbox: instance.Instance) -> None:
    """Makes the bridge and its routes; what is there already stays."""
    if not has_bridge(sandbox):
        _check_free(sandbox)
        run("ip", "link", "add", sandbox.bridge, "type", "bridge")
    run("ip", "address", "replace", f"{sandbox.bridge_ip}/24", "dev", sandbox.bridge)
    run("ip", "link", "set", sandbox.bridge, "up")
    # What is meant for the cluster and finds no node must not follow the default route out of the machine.
    for cidr in (sandbox.pod_cidr, sandbox.service_cidr):
        run("ip", "route", "replace", "unreachable", cidr)


def down(sandbox: instance.Instance) -> None:
    """Removes routes, then the bridge; nothing there is fine."""
    if not has_bridge(sandbox):
        return
    for cidr in (sandbox.pod_cidr, sandbox.service_cidr):
        run("ip", "route", "delete", "unreachable", cidr, check=False)
    run("ip", "link", "delete", sandbox.bridge, check=False)


def _check_free(sandbox: instance.Instance) -> None:
    for route in _read_routes():
        destination = str(route.get("dst", ""))
        for ours in (f"{sandbox.bridge_ip.rpartition('.')[0]}.0/24", sandbox.pod_cidr, sandbox.service_cidr):
            if destination == ours and route.get("type") != "unreachable":
                raise NetworkError(
                    f"{ours} is routed to {route.get('dev')} already: another program uses these addresses"
                )


def _read_routes() -> list[dict[str, Any]]:
    routes: list[dict[str, Any]] = json.loads(run("ip", "-json", "-4", "route", "show") or "[]")
    return routes
