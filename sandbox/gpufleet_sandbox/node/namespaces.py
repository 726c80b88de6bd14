"""The node's mount and UTS namespaces, kept by a sleeping process, and who lives in the node.

`ip netns exec` is no way in: it mounts another /sys and with that hides the cgroups.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import time
from collections.abc import Mapping

from gpufleet_sandbox import processes
from gpufleet_sandbox.node import commands, layout

HOLDER = "holder"
_PROC = pathlib.Path("/proc")
# The kubelet sets these to values it insists on. They are the whole machine's, which is not ours to
# change: each node sees a plain file with the wanted value instead.
KERNEL_TUNABLES: Mapping[str, str] = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def create(node: layout.NodeLayout) -> None:
    """Starts the holder in new namespaces and mounts what a node needs there. Raises CommandError."""
    unshare = ["unshare", "--mount", "--uts", "--propagation", "private"]
    prefix = ["nsenter", f"--net={node.netns_path}", *unshare]
    holder = processes.start(HOLDER, ["sleep", "infinity"], node.directory, prefix=prefix)
    _wait_until_asleep(holder)
    _write_tunables(node)
    inside = enter(node)
    for step in plan_mounts(node):
        commands.run([*inside, *step])


def load_holder(node: layout.NodeLayout) -> processes.Process | None:
    """The process that keeps the node's namespaces, or None where the node is not up."""
    holder = processes.load(HOLDER, node.directory)
    return holder if holder is not None and holder.is_alive() else None


def enter(node: layout.NodeLayout) -> list[str]:
    """The words before a command that is to run in the node. Raises CommandError where it is not up."""
    holder = load_holder(node)
    if holder is None:
        raise commands.CommandError(f"node {node.name} is not up")
    return ["nsenter", f"--target={holder.pid}", "--net", "--mount", "--uts", "--"]


def plan_mounts(node: layout.NodeLayout) -> list[list[str]]:
    """The commands that turn the machine's file system into the node's, in order."""
    binds = [["mount", "--bind", str(node.on_host(path)), path] for path in layout.MOUNT_POINTS]
    tunables = [
        ["mount", "--bind", str(_tunable_path(node, name)), f"/proc/sys/{name}"] for name in KERNEL_TUNABLES
    ]
    return [
        ["hostname", node.name],
        ["mount", "--make-rshared", "/"],
        ["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"],
        ["mkdir", "/run/netns", "/run/lock"],
        *binds,
        *tunables,
        # Pods with Bidirectional mounts hand their mounts to the kubelet through this one.
        ["mount", "--make-rshared", "/var/lib/kubelet"],
    ]


def find_pids(netns: pathlib.Path) -> set[int]:
    """Processes whose network namespace is the one mounted at `netns`: everything but pods of their own."""
    try:
        wanted = netns.stat()
    except OSError:
        return set()
    # An interrupted `ip netns add` leaves a plain file, which is nobody's namespace.
    pids = set()
    for folder in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found = (folder / "ns" / "net").stat()
            if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                pids.add(int(folder.name))
    return pids


def _wait_until_asleep(holder: processes.Process, timeout_s: float = 10.0) -> None:
    """nsenter, unshare and nice each replace themselves by the next; the last one is sleep."""
    deadline = time.monotonic() + timeout_s
    while (_PROC / str(holder.pid) / "comm").read_text().strip() != "sleep":
        holder.check()
        if time.monotonic() > deadline:
            raise processes.StartError(
                f"the namespaces were not made within {timeout_s:.0f} s: {holder.tail()}"
            )
        time.sleep(0.01)


def _write_tunables(node: layout.NodeLayout) -> None:
    for name, value in KERNEL_TUNABLES.items():
        path = _tunable_path(node, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value + os.linesep)


def _tunable_path(node: layout.NodeLayout, name: str) -> pathlib.Path:
    return node.directory / "sysctl" / name.replace("/", ".")
