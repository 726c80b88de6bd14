"""Provider `local`: a real control plane on this machine, with real nodes, simulated nodes, or both."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import shutil
import subprocess
from collections.abc import Sequence

from gpufleet_sandbox import (
    apiclient,
    binaries,
    controlplane,
    debian,
    instance,
    kwok,
    locks,
    network,
    processes,
    progress,
    prometheus,
    provider,
    realnodes,
    state,
)
from gpufleet_sandbox.node import local_node

_READY_TIMEOUT_S = 120.0


@dataclasses.dataclass
class LocalProvider:
    """One sandbox by name; `nodes` real and `kwok_nodes` simulated nodes are what `up` brings."""

    name: str = "default"
    node_count: int = 2
    kwok_count: int = 0
    with_images: bool = True
    shape: kwok.NodeShape = dataclasses.field(default_factory=kwok.NodeShape)
    reporter: progress.Reporter = dataclasses.field(default_factory=progress.Reporter)

    def up(self) -> None:
        """Raises state.StateError, provider.UnsupportedError, gobuild.BuildError, debian.PackageError,
        processes.StartError or TimeoutError, each with what would help.
        """
        self._check_rights()
        with locks.hold(self._lock):
            record = self._ensure_programs(state.plan(self.name, self.node_count, self.kwok_count))
            archives = self._ensure_images(record)
            with self.reporter.step("control plane"):
                if record.nodes:
                    network.up(record.instance)
                controlplane.ControlPlane(record).up()
            if record.kwok:
                self._up_simulated(record)
            if record.nodes:
                realnodes.up(record, archives, self.reporter)
                with self.reporter.step("Prometheus"):
                    prometheus.up(record)

    def down(self) -> None:
        with locks.hold(self._lock):
            record = state.load(self.name)
            if record is None:
                return
            with self.reporter.step(f"taking sandbox {self.name} down"):
                _take_down(record)

    def status(self) -> dict[str, str]:
        record = self._record()
        parts = {
            name: "running" if runs else "stopped"
            for name, runs in controlplane.ControlPlane(record).components().items()
        }
        for name in ("kwok", *prometheus.NAMES):
            if process := processes.load(name, record.instance.directory):
                parts[name] = "running" if process.is_alive() else "stopped"
        if parts.get("prometheus") == "running":
            parts["prometheus"] = f"running at {prometheus.url(record)}"
        with (
            contextlib.suppress(OSError, apiclient.ApiError),
            apiclient.ApiClient(self.kubeconfig()) as client,
        ):
            ready = kwok.read_ready_nodes(client)
            simulated = sum(kwok.is_simulated(name) for name in ready)
            parts["nodes"] = f"{len(ready) - simulated} of {record.nodes} Ready"
            parts["simulated nodes"] = f"{simulated} of {record.kwok} Ready"
        return parts

    def kubeconfig(self) -> pathlib.Path:
        return self._record().instance.kubeconfig

    def nodes(self) -> list[str]:
        record = self._record()
        return [record.instance.node_name(number + 1) for number in range(record.nodes)]

    def load_image(self, archive: pathlib.Path) -> None:
        record = self._record()
        for number in range(record.nodes):
            realnodes.open_node(record, number + 1).load_image(archive)

    def stop_kubelet(self, node: str) -> None:
        self._node(node).stop_kubelet()

    def start_kubelet(self, node: str) -> None:
        self._node(node).start_kubelet()

    def partition(self, node: str) -> None:
        self._node(node).partition()

    def heal(self, node: str) -> None:
        self._node(node).heal()

    def exec_on_node(self, node: str, argv: Sequence[str]) -> str:
        result = self._node(node).exec(argv)
        if result.returncode:
            raise provider.NodeError(
                f"{argv[0]} on {node} ended with {result.returncode}: {result.stderr.strip()}"
            )
        return result.stdout

    def restart_apiserver(self, *, outage_s: float = 0.0) -> None:
        controlplane.ControlPlane(self._record()).restart_apiserver(outage_s=outage_s)

    @property
    def _lock(self) -> pathlib.Path:
        return instance.cache_root() / "locks" / self.name

    def _record(self) -> state.Record:
        record = state.load(self.name)
        if record is None:
            raise state.StateError(f"there is no sandbox {self.name}: gpufleet sandbox up --name {self.name}")
        return record

    def _node(self, name: str) -> local_node.LocalNode:
        names = self.nodes()
        if name not in names:
            raise provider.UnsupportedError(
                f"{name} is no real node of sandbox {self.name}; those are {names}"
            )
        return realnodes.open_node(self._record(), names.index(name) + 1)

    def _check_rights(self) -> None:
        if self.node_count and os.geteuid() != 0:
            raise provider.UnsupportedError(
                "real nodes need root (network and mount namespaces): run as root, or take --nodes=0 --kwok=N"
            )

    def _ensure_programs(self, record: state.Record) -> state.Record:
        """The record with a path for every program that this size needs."""
        names = [*binaries.CONTROL_PLANE, *(["kwok"] if record.kwok else [])]
        if record.nodes:
            names += [*binaries.NODE, *debian.NODE, "prometheus"]
        with self.reporter.step("programs", quiet_below_s=1.0):
            found = binaries.ensure_all(names, self.reporter)
        programs = {name: str(path) for name, path in found.items()}
        record = dataclasses.replace(record, programs={**record.programs, **programs})
        record.save()
        return record

    def _ensure_images(self, record: state.Record) -> list[pathlib.Path]:
        names = realnodes.IMAGES if self.with_images else realnodes.SYSTEM_IMAGES
        return realnodes.ensure_images(names, self.reporter) if record.nodes else []

    def _up_simulated(self, record: state.Record) -> None:
        with self.reporter.step(f"{record.kwok} simulated nodes"):
            _write_kwok_kubeconfig(controlplane.ControlPlane(record))
            shape = dataclasses.replace(self.shape, is_tainted=record.nodes > 0)
            kwok.up(record, shape)
            names = {kwok.node_name(number + 1) for number in range(record.kwok)}
            kwok.wait_ready(record.instance.kubeconfig, names, _READY_TIMEOUT_S + record.kwok * 0.1)


def _write_kwok_kubeconfig(plane: controlplane.ControlPlane) -> None:
    plane.write_kubeconfig("kwok", plane.authority.issue_client("kwok", "kwok", ["system:masters"]))


def _take_down(record: state.Record) -> None:
    sandbox = record.instance
    if record.nodes:
        realnodes.down(record)
    prometheus.down(record)
    kwok.down(sandbox)
    controlplane.ControlPlane(record).down()
    for process in processes.find_marked(sandbox.directory):
        process.stop(timeout_s=2.0)
    if record.nodes:
        network.down(sandbox)
    _unmount_below(sandbox.directory)
    shutil.rmtree(sandbox.directory)


def _unmount_below(directory: pathlib.Path) -> None:
    """A mount that is left would make rmtree delete what it shows."""
    lines = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    points = [pathlib.Path(line.split()[4].replace("\\040", " ")) for line in lines]
    for point in reversed([point for point in points if directory in point.parents]):
        subprocess.run(["umount", "--lazy", str(point)], check=True)
