"""What one node is called, where its files lie and which addresses it has: all derived, none stored."""

from __future__ import annotations

import dataclasses
import pathlib

from gpufleet_sandbox import instance as instances

NETNS_FOLDER = pathlib.Path("/run/netns")
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
PAUSE_IMAGE = "registry.k8s.io/pause:3.10"
CLUSTER_DOMAIN = "cluster.local"

# The kubelet and the container runtime have these paths built in, or pods mount them by these names.
MOUNT_POINTS = (
    "/var/lib/kubelet",
    "/var/lib/containerd",
    "/var/lib/cni",
    "/var/log/pods",
    "/var/log/containers",
    "/etc/cni",
)


@dataclasses.dataclass(frozen=True)
class NodeLayout:
    """Names, paths and addresses of the node with this ordinal (from 1) in this instance."""

    instance: instances.Instance
    ordinal: int

    def __post_init__(self) -> None:
        if not 1 <= self.ordinal <= instances.MAX_NODES:
            raise ValueError(f"node ordinal {self.ordinal} is outside 1..{instances.MAX_NODES}")

    @property
    def name(self) -> str:
        return self.instance.node_name(self.ordinal)

    @property
    def ip(self) -> str:
        return self.instance.node_ip(self.ordinal)

    @property
    def pod_cidr(self) -> str:
        return self.instance.node_pod_cidr(self.ordinal)

    @property
    def directory(self) -> pathlib.Path:
        return self.instance.directory / "nodes" / self.name

    @property
    def root(self) -> pathlib.Path:
        """Holds the node's own version of every mount point."""
        return self.directory / "root"

    @property
    def netns(self) -> str:
        return f"gpf{self.instance.index}-n{self.ordinal}"

    @property
    def netns_path(self) -> pathlib.Path:
        return NETNS_FOLDER / self.netns

    @property
    def link(self) -> str:
        """The host's end of the node's cable; interface names have at most 15 characters."""
        return f"gpf{self.instance.index}n{self.ordinal}"

    @property
    def cgroup(self) -> str:
        """Below the root of every cgroup hierarchy, without a leading slash."""
        return f"gpufleet/gpf{self.instance.index}/n{self.ordinal}"

    def on_host(self, mount_point: str) -> pathlib.Path:
        """Where the node's `mount_point` lies as this machine sees it."""
        return self.root / mount_point.lstrip("/")

    def plan_peer_routes(self) -> list[tuple[str, str]]:
        """(pod range, gateway) of every other node there could be, so that nodes may come and go."""
        others = (n for n in range(1, instances.MAX_NODES + 1) if n != self.ordinal)
        return [(self.instance.node_pod_cidr(n), self.instance.node_ip(n)) for n in others]
