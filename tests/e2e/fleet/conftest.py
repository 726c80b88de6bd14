"""gpufleet installed by its chart on the real nodes, the first of which is cut into slices."""

from __future__ import annotations

import pathlib
import uuid
from collections.abc import Iterator

import pytest

from gpufleet_sandbox import binaries, kubectl
from gpufleet_sandbox import fleet as install
from tests.e2e.fleet import manifests, services

SLICE = "nvidia.com/mig-1g.10gb"
ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture(scope="session")
def client(sandbox) -> kubectl.Kubectl:
    return kubectl.Kubectl(binaries.ensure("kubectl"), sandbox.kubeconfig)


@pytest.fixture(scope="session")
def fleet(client: kubectl.Kubectl) -> kubectl.Kubectl:
    """kubectl for a cluster with the chart installed and MIG slices to be had."""
    install.install(client, binaries.ensure("helm"))
    install.cut(
        client, client.get("nodes", "-l", "nvidia.com/mig.capable=true")["items"][0]["metadata"]["name"]
    )
    return client


@pytest.fixture
def namespace(fleet: kubectl.Kubectl) -> Iterator[str]:
    """A namespace of the test's own that refuses pods below the restricted standard."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    fleet.run("create", "namespace", name)
    fleet.run("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    fleet.run("delete", "namespace", name, "--wait=false")


@pytest.fixture
def serving(fleet: kubectl.Kubectl, namespace: str) -> str:
    """A namespace in which the service runs and has come to rest."""
    services.apply(fleet, manifests.service(namespace, services.NAME, ["doubler"]))
    for condition in ("Ready=True", "Reconciling=False"):
        fleet.run(
            "wait", "-n", namespace, f"tsvc/{services.NAME}", f"--for=condition={condition}", services.TIMEOUT
        )
    return namespace
