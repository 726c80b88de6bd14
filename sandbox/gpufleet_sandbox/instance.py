"""What one sandbox is called and which addresses it may use; everything else derives from here."""

from __future__ import annotations

import dataclasses
import os
import pathlib

MAX_INSTANCES = 16
MAX_NODES = 64


def cache_root() -> pathlib.Path:
    """The per-user cache: `$GPUFLEET_CACHE`, else `$XDG_CACHE_HOME/gpufleet`, else `~/.cache/gpufleet`."""
    if own := os.environ.get("GPUFLEET_CACHE"):
        return pathlib.Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (pathlib.Path(base) if base else pathlib.Path.home() / ".cache") / "gpufleet"


@dataclasses.dataclass(frozen=True)
class Instance:
    """One sandbox: a name for people, an index that keeps addresses and interfaces of several apart."""

    name: str
    index: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < MAX_INSTANCES:
            raise ValueError(f"instance index {self.index} is outside 0..{MAX_INSTANCES - 1}")

    @property
    def directory(self) -> pathlib.Path:
        return cache_root() / "instances" / self.name

    @property
    def kubeconfig(self) -> pathlib.Path:
        return self.directory / "admin.kubeconfig"

    @property
    def bridge(self) -> str:
        return f"gpf{self.index}br"

    @property
    def bridge_ip(self) -> str:
        return f"10.250.{self.index}.1"

    @property
    def pod_cidr(self) -> str:
        return f"10.{128 + self.index}.0.0/16"

    @property
    def service_cidr(self) -> str:
        return f"10.{64 + self.index}.0.0/16"

    @property
    def kubernetes_ip(self) -> str:
        """The API server's Service: the first address of the range, as Kubernetes has it."""
        return f"10.{64 + self.index}.0.1"

    @property
    def dns_ip(self) -> str:
        return f"10.{64 + self.index}.0.10"

    @property
    def shared_volumes(self) -> pathlib.Path:
        """One directory that every node sees, behind the ReadWriteMany volumes."""
        return self.directory / "volumes"

    def node_name(self, ordinal: int) -> str:
        """Nodes count from 1; the instance is part of the name where it is not the first."""
        return f"n{ordinal}" if self.index == 0 else f"{self.name}-n{ordinal}"

    def node_ip(self, ordinal: int) -> str:
        return f"10.250.{self.index}.{10 + ordinal}"

    def node_pod_cidr(self, ordinal: int) -> str:
        return f"10.{128 + self.index}.{ordinal}.0/24"
