"""One control plane with simulated nodes for the whole run, or the cluster of GPUFLEET_TEST_KUBECONFIG."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import subprocess
from collections.abc import Iterator

import psutil
import pytest

from gpufleet_sandbox import binaries, existing, local, provider, state

SIMULATED_NODES = 4


@dataclasses.dataclass(frozen=True)
class Cluster:
    """What tests need of a cluster."""

    provider: provider.Provider
    kubeconfig: pathlib.Path
    kubectl_path: pathlib.Path

    def kubectl(self, *args: str, input: str | None = None) -> str:
        """Standard output of kubectl; an AssertionError with its words when it fails."""
        result = self.try_kubectl(*args, input=input)
        assert result.returncode == 0, f"kubectl {' '.join(args)}: {result.stderr.strip()}"
        return result.stdout

    def try_kubectl(self, *args: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
        """kubectl, whatever its exit status: for objects that the server shall refuse."""
        command = [str(self.kubectl_path), "--kubeconfig", str(self.kubeconfig), *args]
        return subprocess.run(command, input=input, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    kubectl = binaries.ensure("kubectl")
    if given := os.environ.get("GPUFLEET_TEST_KUBECONFIG"):
        path = existing.find_kubeconfig(given)
        yield Cluster(existing.ExistingProvider(path), path, kubectl)
        return
    _sweep()
    provided = local.LocalProvider(f"test-{os.getpid()}", node_count=0, kwok_count=SIMULATED_NODES)
    try:
        provided.up()
        yield Cluster(provided, provided.kubeconfig(), kubectl)
    finally:
        provided.down()


def _sweep() -> None:
    """Takes down what runs that were killed have left."""
    for record in state.load_all():
        match = re.fullmatch(r"test-(\d+)(-\w+)?", record.name)
        if match and not psutil.pid_exists(int(match[1])):
            local.LocalProvider(record.name).down()
