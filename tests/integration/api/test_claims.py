"""Claims for MIG slices on the real API server, and a scheduler that gives them devices."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gpufleet.api import accelerator as accelerators
from gpufleet.decide.mig import claims
from gpufleet_sandbox import kubectl
from tests.integration.conftest import Cluster

NAMESPACE = "claims"
H100 = "NVIDIA-H100-80GB-HBM3"
POOL = "claims-pool"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def client(cluster: Cluster) -> Iterator[kubectl.Kubectl]:
    """kubectl of a cluster in which one node offers three placements on one GPU of 8 memory units."""
    found = kubectl.Kubectl(cluster.kubectl_path, cluster.kubeconfig)
    [node, *_] = [one["metadata"]["name"] for one in found.get("nodes")["items"]]
    made = [device_class(), counters(node), devices(node)]
    found.run("create", "namespace", NAMESPACE)
    for one in made:
        apply(found, one)
    yield found
    found.run("delete", "namespace", NAMESPACE, "--wait=false")
    found.run("delete", "resourceslices", f"{POOL}-counters", f"{POOL}-devices")
    found.run("delete", "deviceclass", claims.DEVICE_CLASS)


def apply(client: kubectl.Kubectl, wanted: Any) -> None:
    client.run("apply", "--server-side", "-f", "-", stdin=json.dumps(wanted))


def device_class() -> dict[str, Any]:
    """As the driver's chart installs it."""
    expression = "device.driver == 'gpu.nvidia.com' && device.attributes['gpu.nvidia.com'].type == 'mig'"
    return {
        "apiVersion": claims.API_VERSION,
        "kind": "DeviceClass",
        "metadata": {"name": claims.DEVICE_CLASS},
        "spec": {"selectors": [{"cel": {"expression": expression}}]},
    }


def offer(node: str, name: str, **spec: Any) -> dict[str, Any]:
    pool = {"name": POOL, "generation": 1, "resourceSliceCount": 2}
    return {
        "apiVersion": claims.API_VERSION,
        "kind": "ResourceSlice",
        "metadata": {"name": f"{POOL}-{name}"},
        "spec": {"driver": claims.DRIVER, "nodeName": node, "pool": pool, **spec},
    }


def counters(node: str) -> dict[str, Any]:
    units = {f"memory-slice-{unit}": {"value": "1"} for unit in range(8)}
    return offer(node, "counters", sharedCounters=[{"name": "gpu-0", "counters": units}])


def devices(node: str) -> dict[str, Any]:
    """3g at both its starts, and 7g, which needs all units."""
    placed = [("3g.40gb", 0, 4), ("3g.40gb", 4, 4), ("7g.80gb", 0, 8)]
    return offer(
        node,
        "devices",
        devices=[
            {
                "name": f"gpu-0-mig-{profile.replace('.', '')}-{start}",
                "attributes": {
                    "type": {"string": "mig"},
                    "profile": {"string": profile},
                    "productName": {"string": "NVIDIA H100 80GB HBM3"},
                },
                "consumesCounters": [
                    {
                        "counterSet": "gpu-0",
                        "counters": {
                            f"memory-slice-{unit}": {"value": "1"} for unit in range(start, start + size)
                        },
                    }
                ],
            }
            for profile, start, size in placed
        ],
    )


def pod(name: str, profile: str, claim: str) -> dict[str, Any]:
    resource = f"nvidia.com/mig-{profile}"
    container = {"name": "main", "image": "pause:1", "resources": {"limits": {resource: "1", "cpu": "10m"}}}
    template = claims.use_claim({"spec": {"containers": [container]}}, "main", resource, claim)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE}, **template}


def ask(client: kubectl.Kubectl, name: str, profile: str) -> None:
    """A pod with a claim of its own."""
    assigned = accelerators.AssignedAccelerator(
        resource=f"nvidia.com/mig-{profile}", count=1, products=[H100]
    )
    apply(client, claims.build_claim_template(name, NAMESPACE, {}, assigned))
    apply(client, pod(name, profile, name))


def allocated(client: kubectl.Kubectl, name: str) -> str:
    """The device of the pod's claim; KeyError until there is one."""
    status = client.get("pod", name, "-n", NAMESPACE)["status"]
    claim = status["resourceClaimStatuses"][0]["resourceClaimName"]
    results = client.get("resourceclaim", claim, "-n", NAMESPACE)["status"]["allocation"]["devices"][
        "results"
    ]
    return str(results[0]["device"])


def test_what_the_server_stores_is_read_as_an_offer(client: kubectl.Kubectl) -> None:
    classes, slices = client.get("deviceclasses")["items"], client.get("resourceslices")["items"]
    assert claims.offers_slices(classes, slices)
    [profiles] = claims.find_offers(slices).values()
    assert profiles == {"3g.40gb", "7g.80gb"}


def test_a_claim_is_stored_as_it_was_built(client: kubectl.Kubectl) -> None:
    assigned = accelerators.AssignedAccelerator(
        resource="nvidia.com/mig-1g.10gb.me", count=1, products=[H100]
    )
    wanted = claims.build_claim_template("stored", NAMESPACE, {"a": "b"}, assigned)
    apply(client, wanted)
    found = client.get("resourceclaimtemplate", "stored", "-n", NAMESPACE)
    assert found["spec"] == wanted["spec"], "or every pass would write it again"


def test_the_scheduler_gives_slices_that_exist_together_and_no_others(client: kubectl.Kubectl) -> None:
    for name in ("first", "second"):
        ask(client, name, "3g.40gb")
        kubectl.wait_until(f"a slice for {name}", lambda n=name: bool(allocated(client, n)), timeout_s=60)
    assert {allocated(client, "first"), allocated(client, "second")} == {
        "gpu-0-mig-3g40gb-0",
        "gpu-0-mig-3g40gb-4",
    }
    ask(client, "whole", "7g.80gb")

    def is_refused() -> bool:
        conditions = client.get("pod", "whole", "-n", NAMESPACE)["status"]["conditions"]
        return any(one["reason"] == "Unschedulable" for one in conditions)

    kubectl.wait_until("the refusal of what overlaps", is_refused, timeout_s=60)
