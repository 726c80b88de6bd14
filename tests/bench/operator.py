"""A control plane with simulated nodes and an operator process, for benchmarks."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator

import psutil

from gpufleet_sandbox import binaries, kubectl, local, progress
from tests import access
from tests.bench import audit
from tests.integration.operator import process


@dataclasses.dataclass
class Bench:
    """What a benchmark works with; the operator is not started yet."""

    client: kubectl.Kubectl
    folder: pathlib.Path
    log: audit.Log
    kubeconfig: pathlib.Path

    def operator(self, name: str) -> process.Operator:
        """An operator with the chart's own rights and a ceiling of writes that is not what is measured."""
        env = {"GPUFLEET_WRITE_RATE_PER_S": "1000"}
        return process.Operator(self.kubeconfig, self.folder / f"{name}.log", env=env)


@contextlib.contextmanager
def control_plane(kwok_nodes: int) -> Iterator[Bench]:
    """Up while the body runs, with the chart's CRDs and rights."""
    provider = local.LocalProvider(
        f"bench-{os.getpid()}", node_count=0, kwok_count=kwok_nodes, reporter=progress.Reporter()
    )
    try:
        provider.up()
        client = kubectl.Kubectl(binaries.ensure("kubectl"), provider.kubeconfig())
        access.install_chart(client)
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            config = access.write_kubeconfig(client, folder / "operator.kubeconfig")
            yield Bench(client, folder, audit.Log(provider.kubeconfig().parent / "audit.log"), config)
    finally:
        provider.down()


def wait_for(what: str, holds: Callable[[], bool], timeout_s: float, every_s: float = 1.0) -> float:
    """Seconds until it held. Raises TimeoutError."""
    started = time.monotonic()
    kubectl.wait_until(what, holds, timeout_s=timeout_s, every_s=every_s)
    return time.monotonic() - started


def read_rss_mib(operator: process.Operator) -> float:
    """Resident memory of the operator's process."""
    if operator.process is None:
        raise RuntimeError("the operator does not run")
    return float(psutil.Process(operator.process.pid).memory_info().rss) / 2**20
