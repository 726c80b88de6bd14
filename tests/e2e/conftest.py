"""Two real nodes with every image for the whole run, or the cluster of GPUFLEET_TEST_KUBECONFIG."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Iterator

import psutil
import pytest

from gpufleet_sandbox import binaries, existing, kubectl, local, provider, state

GIVEN = "GPUFLEET_TEST_KUBECONFIG"
NODES = 2
# The first test pays for building images and programs that are not in the cache.
_TIMEOUT_S = 3600


@dataclasses.dataclass(frozen=True)
class Sandbox:
    """What tests need of a cluster."""

    provider: provider.Provider
    kubeconfig: pathlib.Path
    client: kubectl.Kubectl

    def kubectl(self, *args: str, input: str | None = None) -> str:
        """Standard output of kubectl. Raises KubectlError with its words."""
        return self.client.run(*args, stdin=input)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "machine: reaches behind the API, so it needs nodes of provider local")
    config.addinivalue_line("markers", "alone: measures, so nothing else may run beside it")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = pathlib.Path(__file__).parent
    ours = [item for item in items if here in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.timeout(_TIMEOUT_S))
    # First what compares the machine before and after: later another stream may take its nodes down.
    items.sort(key=lambda item: item.path.name != "test_nodes.py")
    if not os.environ.get(GIVEN):
        return
    beyond = [item for item in ours if item.get_closest_marker("machine")]
    config.hook.pytest_deselected(items=beyond)
    items[:] = [item for item in items if item not in beyond]


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    if given := os.environ.get(GIVEN):
        path = existing.find_kubeconfig(given)
        yield Sandbox(
            existing.ExistingProvider(path), path, kubectl.Kubectl(binaries.ensure("kubectl"), path)
        )
        return
    require_root()
    _sweep()
    provided = local.LocalProvider(f"e2e-{os.getpid()}", node_count=NODES)
    try:
        provided.up()
        path = provided.kubeconfig()
        yield Sandbox(provided, path, kubectl.Kubectl(binaries.ensure("kubectl"), path))
    finally:
        provided.down()


def require_root() -> None:
    if os.geteuid() != 0:
        pytest.exit(f"e2e tests make real nodes and need root; or name a cluster with {GIVEN}", returncode=1)


def _sweep() -> None:
    """Takes down what runs that were killed have left."""
    for record in state.load_all():
        match = re.fullmatch(r"e2e-(?:\w+-)?(\d+)", record.name)
        if match and not psutil.pid_exists(int(match[1])):
            local.LocalProvider(record.name).down()
