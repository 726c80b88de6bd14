"""Who still holds a connection to this pod's Triton, as the kernel lists it.

A client that keeps its connection would go on sending after the pod has left the endpoints.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Iterator

TABLES = (pathlib.Path("/proc/net/tcp"), pathlib.Path("/proc/net/tcp6"))
_ESTABLISHED = "01"
_LOOPBACK = ("0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000")


def count_clients(ports: frozenset[int], tables: Iterable[pathlib.Path] = TABLES) -> int:
    """Established connections to these ports from outside of the pod (proc(5), /proc/net/tcp)."""
    return sum(port in ports for port in _find_ports(tables))


def _find_ports(tables: Iterable[pathlib.Path]) -> Iterator[int]:
    for table in tables:
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            _, local, remote, state, *_ = line.split()
            if state == _ESTABLISHED and remote.partition(":")[0] not in _LOOPBACK:
                yield int(local.partition(":")[2], 16)
