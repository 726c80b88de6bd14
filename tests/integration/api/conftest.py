"""The generated CRDs, applied to the cluster."""

from __future__ import annotations

import pathlib

import pytest

from tests.integration.conftest import Cluster

ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture(scope="module")
def served(cluster: Cluster) -> Cluster:
    """A cluster that serves the kinds; its discovery knows them."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(ROOT / "crds"))
    return cluster
