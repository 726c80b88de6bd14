"""gpufleet on a cluster that is up: its chart with simulated GPUs, one of them cut into MIG slices."""

from __future__ import annotations

import contextlib
import pathlib

from gpufleet_sandbox import charts, kubectl

MIG_CONFIG = "demo"
SLICE = "nvidia.com/mig-1g.10gb"
CLIENTS = ("kubectl", "helm")
_TIMEOUT_S = 240.0


def install(client: kubectl.Kubectl, helm: pathlib.Path) -> None:
    """The chart, waited for. Raises charts.HelmError."""
    charts.install(helm, client.kubeconfig, charts.SANDBOX_VALUES)


def cut(client: kubectl.Kubectl, node: str) -> None:
    """Cuts one GPU of the node into MIG slices and waits until they can be had. Raises TimeoutError."""
    client.run("label", "node", node, f"nvidia.com/mig.config={MIG_CONFIG}", "--overwrite")
    kubectl.wait_until(
        f"{SLICE} on {node}",
        lambda: int(client.get("node", node)["status"]["allocatable"].get(SLICE, "0")) > 0,
        timeout_s=_TIMEOUT_S,
    )


def link_clients(folder: pathlib.Path, programs: dict[str, pathlib.Path]) -> None:
    """Programs under their plain names, since the cache's carry versions and PATH takes folders only."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, program in programs.items():
        link = folder / name
        with contextlib.suppress(FileNotFoundError):
            link.unlink()
        link.symlink_to(program.absolute())
