"""What is known of every sandbox between two commands: its index, its size, its ports."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import socket

from gpufleet_sandbox import instance, locks

LOOPBACK = "127.0.0.1"
# Below the range from which kernels take the ports of outgoing connections.
_FIRST_PORT = 20000
_PORTS_PER_INSTANCE = 100
PORT_NAMES = (
    "apiserver", "etcd", "etcd-peer", "kube-controller-manager", "kube-scheduler", "prometheus",
)  # fmt: skip


class StateError(RuntimeError):
    """The request does not fit what runs already; the message says what does."""


@dataclasses.dataclass(frozen=True)
class Record:
    """One sandbox as it was last brought up.

    `address` is where its API server listens; `programs` maps names to the paths that are in use.
    """

    name: str
    index: int
    nodes: int
    kwok: int
    address: str
    ports: dict[str, int]
    programs: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def instance(self) -> instance.Instance:
        return instance.Instance(self.name, self.index)

    @property
    def server(self) -> str:
        return f"https://{self.address}:{self.ports['apiserver']}"

    def save(self) -> None:
        path = _record_path(self.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(dataclasses.asdict(self), indent=2))
        part.replace(path)


def load(name: str) -> Record | None:
    """The sandbox of this name, or None where there is none."""
    try:
        return Record(**json.loads(_record_path(name).read_text()))
    except FileNotFoundError:
        return None


def load_all() -> list[Record]:
    found = (load(path.parent.name) for path in sorted(_instances().glob("*/record.json")))
    return [record for record in found if record is not None]


def plan(name: str, nodes: int, kwok: int) -> Record:
    """The record for this size: the old one grown, or a new one with an index and ports of its own.

    Raises StateError when the sandbox runs already with a network of the other sort, or with more nodes.
    """
    if not name.replace("-", "").isalnum() or name != name.lower() or len(name) > 20:
        raise StateError(f"{name!r} is no name for a sandbox: up to 20 of a-z, 0-9 and -")
    if not 0 <= nodes <= instance.MAX_NODES:
        raise StateError(f"--nodes={nodes} is outside 0..{instance.MAX_NODES}")
    with locks.hold(instance.cache_root() / "locks" / ".instances"):
        old = load(name)
        if old is None:
            return _allot(name, nodes, kwok)
        if (old.nodes > 0) != (nodes > 0) or nodes < old.nodes:
            raise StateError(
                f"sandbox {name} runs with {old.nodes} nodes: `gpufleet sandbox down --name {name}` first, "
                "or take another --name"
            )
        record = dataclasses.replace(old, nodes=nodes, kwok=max(kwok, old.kwok))
        record.save()
        return record


def _allot(name: str, nodes: int, kwok: int) -> Record:
    taken = {record.index for record in load_all()}
    for index in range(instance.MAX_INSTANCES):
        candidate = instance.Instance(name, index)
        if index in taken or _has_interface(candidate.bridge):
            continue
        address = candidate.bridge_ip if nodes else LOOPBACK
        record = Record(name, index, nodes, kwok, address, allot_ports(index))
        record.save()
        return record
    raise StateError(
        f"all {instance.MAX_INSTANCES} sandboxes are in use: take one down (gpufleet sandbox status)"
    )


def allot_ports(index: int) -> dict[str, int]:
    """A free port for each of PORT_NAMES, from the hundred that belongs to this index."""
    first = _FIRST_PORT + index * _PORTS_PER_INSTANCE
    free = (port for port in range(first, first + _PORTS_PER_INSTANCE) if _is_free(port))
    ports = dict(zip(PORT_NAMES, free, strict=False))
    if len(ports) < len(PORT_NAMES):
        raise StateError(f"ports {first} to {first + _PORTS_PER_INSTANCE - 1} are in use by other programs")
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def _has_interface(name: str) -> bool:
    return pathlib.Path("/sys/class/net", name).exists()


def _instances() -> pathlib.Path:
    return instance.cache_root() / "instances"


def _record_path(name: str) -> pathlib.Path:
    return _instances() / name / "record.json"
