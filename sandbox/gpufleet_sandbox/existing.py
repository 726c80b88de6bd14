"""Provider `existing`: a cluster that somebody else runs, reached through its kubeconfig."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import NoReturn

from gpufleet_sandbox import apiclient, kwok, provider


@dataclasses.dataclass(frozen=True)
class ExistingProvider:
    """Reads and changes objects only; machines and processes are out of its reach."""

    path: pathlib.Path

    def up(self) -> None:
        """Checks that the cluster answers. Raises OSError or apiclient.ApiError."""
        with apiclient.ApiClient(self.path) as client:
            client.get("/readyz")

    def down(self) -> None:
        """Nothing was brought up, so nothing is taken down."""

    def status(self) -> dict[str, str]:
        with apiclient.ApiClient(self.path) as client:
            version = client.get("/version")["gitVersion"]
            return {"kube-apiserver": version, "nodes": f"{len(kwok.read_ready_nodes(client))} Ready"}

    def kubeconfig(self) -> pathlib.Path:
        return self.path

    def nodes(self) -> list[str]:
        with apiclient.ApiClient(self.path) as client:
            return sorted(node["metadata"]["name"] for node in client.get("/api/v1/nodes")["items"])

    def load_image(self, archive: pathlib.Path) -> None:
        _refuse(f"load {archive.name}: push the image to a registry that the cluster pulls from")

    def stop_kubelet(self, node: str) -> None:
        _refuse(f"stop the kubelet of {node}")

    def start_kubelet(self, node: str) -> None:
        _refuse(f"start the kubelet of {node}")

    def partition(self, node: str) -> None:
        _refuse(f"cut the network of {node}")

    def heal(self, node: str) -> None:
        _refuse(f"heal the network of {node}")

    def exec_on_node(self, node: str, argv: Sequence[str]) -> str:
        _refuse(f"run {argv[0]} on {node}")

    def restart_apiserver(self, *, outage_s: float = 0.0) -> None:
        _refuse("restart the API server")


def find_kubeconfig(given: str | None) -> pathlib.Path:
    """`given`, else the first file of $KUBECONFIG, else ~/.kube/config."""
    default = pathlib.Path.home() / ".kube" / "config"
    first = (given or os.environ.get("KUBECONFIG") or str(default)).split(os.pathsep)[0]
    path = pathlib.Path(first).expanduser()
    if not path.is_file():
        raise provider.UnsupportedError(f"{path} is not there: name a kubeconfig with --kubeconfig")
    return path


def _refuse(what: str) -> NoReturn:
    raise provider.UnsupportedError(f"provider existing cannot {what}: it only has a kubeconfig")
