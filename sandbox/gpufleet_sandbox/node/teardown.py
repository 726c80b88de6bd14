"""Removes a node whole, whatever state it is in: everything is found by names that the layout derives.

A process belongs to the node when it is in the node's network namespace, in its cgroup, or was started
for its directory. Nothing else is ever signalled.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable

from gpufleet_sandbox import processes, provider
from gpufleet_sandbox.node import cgroups, commands, layout, links, mountpoints, namespaces, template

_POLL_S = 0.03


class TeardownError(provider.NodeError):
    """Something of the node would not go; the message says what."""


def remove(node: layout.NodeLayout, timeout_s: float = 20.0) -> None:
    """Kills the node's processes and removes its network, cgroups and files. Raises TeardownError."""
    hierarchies = cgroups.read_hierarchies()
    deadline = time.monotonic() + timeout_s
    _repeat(lambda: _kill(node, hierarchies), deadline, f"processes of {node.name} survived SIGKILL")
    links.remove(node)
    _repeat(lambda: _remove_cgroups(node, hierarchies), deadline, f"cgroup {node.cgroup} is still in use")
    # Not followed into other file systems: should anything be mounted there, it is not ours.
    commands.run(["rm", "-rf", "--one-file-system", node.directory])
    with contextlib.suppress(OSError):
        node.directory.parent.rmdir()
    mountpoints.release(node.netns)
    template.sweep()


def find_pids(node: layout.NodeLayout, hierarchies: cgroups.Hierarchies) -> set[int]:
    """Every process of the node."""
    # Children of this very process must be reaped before they count as gone.
    for process in processes.load_all(node.directory):
        process.is_alive()
    marked = {process.pid for process in processes.find_marked(node.directory)}
    inside = namespaces.find_pids(node.netns_path) | hierarchies.find_pids(node.cgroup)
    return (marked | inside) - {os.getpid()}


def _repeat(is_done: Callable[[], bool], deadline: float, complaint: str) -> None:
    while not is_done():
        if time.monotonic() > deadline:
            raise TeardownError(complaint)
        time.sleep(_POLL_S)


def _kill(node: layout.NodeLayout, hierarchies: cgroups.Hierarchies) -> bool:
    """Kills what is there; whether nothing was. What a dying process forked meanwhile is next."""
    pids = find_pids(node, hierarchies)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return not pids


def _remove_cgroups(node: layout.NodeLayout, hierarchies: cgroups.Hierarchies) -> bool:
    try:
        hierarchies.remove(node.cgroup)
    except OSError:
        return False
    return True
