"""One node of the local sandbox: brought up, disturbed, and taken down without a trace."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import subprocess
from collections.abc import Mapping, Sequence

from gpufleet_sandbox import instance as instances
from gpufleet_sandbox import processes
from gpufleet_sandbox.node import (
    cgroups,
    commands,
    daemons,
    layout,
    links,
    mountpoints,
    namespaces,
    teardown,
    template,
)

BINARIES = ("kubelet", "kube-proxy", "containerd", "containerd-shim-runc-v2", "ctr", "runc", "ptp")


@dataclasses.dataclass(frozen=True)
class LocalNode:
    """The node with this ordinal, from 1; what is not needed for `up` may be left empty elsewhere.

    `server` is the API server's URL, `binaries` has a path for each of BINARIES, `archives` are images
    that the node starts with, `labels` are set on the Node object at registration.
    """

    instance: instances.Instance
    ordinal: int
    server: str = ""
    binaries: Mapping[str, pathlib.Path] = dataclasses.field(default_factory=dict)
    archives: Sequence[pathlib.Path] = ()
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def layout(self) -> layout.NodeLayout:
        return layout.NodeLayout(self.instance, self.ordinal)

    @property
    def name(self) -> str:
        return self.layout.name

    def up(self) -> None:
        """Returns when containerd answers and kubelet and kube-proxy run; the Node is Ready soon after.

        Needs the sandbox's bridge. What runs already is left alone; remains of a node that does not run
        are removed first. Raises CommandError, CgroupError, StartError or TeardownError.
        """
        if not self.is_up():
            self.down()
            self._build()
        daemons.start_kubelet(self.layout, self.binaries, self.labels)
        daemons.start_kube_proxy(self.layout, self.binaries)

    def wait_for_services(self) -> None:
        """Returns when the node reaches Services. Raises StartError with the end of kube-proxy's log."""
        daemons.wait_for_services(self.layout)

    def down(self) -> None:
        """Removes the node whole, also one that is half built or half removed."""
        teardown.remove(self.layout)

    def is_up(self) -> bool:
        """Whether the node's namespaces and its containerd are there; its kubelet may be stopped."""
        holder = namespaces.load_holder(self.layout)
        return holder is not None and daemons.is_running(self.layout, daemons.CONTAINERD)

    def stop_kubelet(self) -> None:
        """Kills the kubelet as a crash would; pods go on running."""
        process = processes.load(daemons.KUBELET, self.layout.directory)
        if process is not None:
            process.kill()

    def start_kubelet(self) -> None:
        daemons.start_kubelet(self.layout, self.binaries, self.labels)

    def partition(self) -> None:
        """Cuts the node off from the control plane and its peers; everything on it goes on running."""
        links.set_link(self.layout, up=False)

    def heal(self) -> None:
        """Ends a partition."""
        links.set_link(self.layout, up=True)

    def exec(
        self, argv: Sequence[str | os.PathLike[str]], timeout_s: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command in the node's namespaces to its end, whatever the exit code."""
        return commands.attempt([*namespaces.enter(self.layout), *argv], timeout_s=timeout_s)

    def load_image(self, archive: pathlib.Path) -> None:
        """Imports a docker-archive or OCI archive, so that pods may use its images. Raises CommandError."""
        argv = template.build_import(
            self.binaries.get("ctr", pathlib.Path("ctr")), layout.CONTAINERD_SOCKET, archive
        )
        commands.run([*namespaces.enter(self.layout), *argv], timeout_s=600)

    def _build(self) -> None:
        node = self.layout
        images = template.ensure(self.archives, self.binaries)
        for path in layout.MOUNT_POINTS:
            node.on_host(path).mkdir(parents=True, exist_ok=True)
        self.instance.shared_volumes.mkdir(parents=True, exist_ok=True)
        template.clone(images, node.on_host("/var/lib/containerd"), node.directory)
        daemons.write_files(node, self.server, self.binaries)
        mountpoints.claim(node.netns)
        links.create(node)
        namespaces.create(node)
        cgroups.read_hierarchies().create(node.cgroup)
        daemons.start_containerd(node, self.binaries)
