"""A cluster that serves our kinds and has the operator's namespace."""

from __future__ import annotations

import pathlib

import pytest

from tests.integration.conftest import Cluster

ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture(scope="session")
def served(cluster: Cluster) -> Cluster:
    """The kinds are installed, the operator's namespace exists."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(ROOT / "crds"))
    cluster.try_kubectl("create", "namespace", "gpufleet-system")
    return cluster


@pytest.fixture
def team(served: Cluster, request: pytest.FixtureRequest) -> str:
    """A namespace of its own for each test."""
    name = request.node.name.split("[")[0].replace("_", "-")[:60].strip("-")
    served.try_kubectl("create", "namespace", name)
    return name
