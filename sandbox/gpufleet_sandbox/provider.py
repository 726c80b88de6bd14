"""What tests and the demo ask of a cluster, whoever provides it."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Protocol


class UnsupportedError(NotImplementedError):
    """This provider cannot do what was asked; the message says which and why."""


class NodeError(RuntimeError):
    """A command on a node failed; the message holds its exit code and its words."""


class Provider(Protocol):
    """A cluster that can be brought up, broken in parts, and taken down."""

    def up(self) -> None:
        """Brings the cluster up; what runs already stays."""

    def down(self) -> None:
        """Leaves nothing behind."""

    def status(self) -> dict[str, str]:
        """Component → its state, in words."""

    def kubeconfig(self) -> pathlib.Path:
        """The administrator's kubeconfig."""

    def nodes(self) -> list[str]:
        """Names of the real nodes: those that the verbs below accept."""

    def load_image(self, archive: pathlib.Path) -> None:
        """Makes a docker-archive's images known to every real node."""

    def stop_kubelet(self, node: str) -> None:
        """Ends the node's kubelet; its containers run on."""

    def start_kubelet(self, node: str) -> None: ...

    def partition(self, node: str) -> None:
        """Cuts the node's network."""

    def heal(self, node: str) -> None:
        """Undoes partition."""

    def exec_on_node(self, node: str, argv: Sequence[str]) -> str:
        """Runs a command in the node's namespaces; returns its standard output. Raises NodeError."""

    def restart_apiserver(self, *, outage_s: float = 0.0) -> None:
        """Kills the API server, waits, starts it; returns when it is ready."""
