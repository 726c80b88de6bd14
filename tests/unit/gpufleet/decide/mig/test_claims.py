"""ResourceClaims for slices: what the cluster offers, what is asked for, and the pod that asks."""

from __future__ import annotations

from typing import Any

import pytest

from gpufleet import settings
from gpufleet.api import accelerator as accelerators
from gpufleet.decide.mig import claims
from gpufleet.decide.serving import pod
from tests import builders

H100 = "NVIDIA-H100-80GB-HBM3"
OURS = "device.attributes['gpu.nvidia.com']"
SLICE = accelerators.AssignedAccelerator(resource="nvidia.com/mig-1g.10gb", count=1, products=[H100])


def device(profile: str = "1g.10gb", *, kind: str = "mig", shares: bool = True, domain: str = "") -> Any:
    attributes = {f"{domain}type": {"string": kind}, f"{domain}profile": {"string": profile}}
    counters = [{"counterSet": "gpu-0", "counters": {"memory-slice-0": {"value": "1"}}}] if shares else []
    return {"name": f"gpu-0-{profile}", "attributes": attributes, "consumesCounters": counters}


def offer(*devices: Any, node: str = "n1", driver: str = claims.DRIVER) -> Any:
    return {"spec": {"driver": driver, "nodeName": node, "pool": {"name": node}, "devices": list(devices)}}


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        pytest.param([], {}, id="nothing"),
        pytest.param([offer(device(), device("3g.40gb"))], {"n1": {"1g.10gb", "3g.40gb"}}, id="two profiles"),
        pytest.param([offer(device()), offer(device(), node="n2")], {"n1": {"1g.10gb"}, "n2": {"1g.10gb"}},
                     id="two nodes"),
        pytest.param([offer(device(domain="gpu.nvidia.com/"))], {"n1": {"1g.10gb"}}, id="with the domain"),
        pytest.param([offer(device(shares=False))], {}, id="made before, and no other way"),
        pytest.param([offer(device(kind="gpu"))], {}, id="whole devices"),
        pytest.param([offer(device(), driver="gpu.example.com")], {}, id="another driver"),
        pytest.param([{"spec": {"driver": claims.DRIVER, "allNodes": True}}], {}, id="no node of its own"),
    ],
)  # fmt: skip
def test_what_can_be_made(slices: list[Any], expected: dict[str, set[str]]) -> None:
    assert claims.find_offers(slices) == expected


@pytest.mark.parametrize(
    ("classes", "slices", "expected"),
    [
        pytest.param(["mig.nvidia.com"], [offer(device())], True, id="both"),
        pytest.param(["gpu.nvidia.com"], [offer(device())], False, id="no class of slices"),
        pytest.param(["mig.nvidia.com"], [offer(device(kind="gpu"))], False, id="no slices"),
    ],
)
def test_whether_the_cluster_offers_slices(classes: list[str], slices: list[Any], expected: bool) -> None:
    assert claims.offers_slices([{"metadata": {"name": name}} for name in classes], slices) is expected


@pytest.mark.parametrize(
    ("resource", "products", "expression"),
    [
        pytest.param("nvidia.com/mig-1g.10gb", [], f'{OURS}.profile in ["1g.10gb"]', id="any product"),
        pytest.param(
            "nvidia.com/mig-1g.10gb.me", [H100],
            f'{OURS}.profile in ["1g.10gb+me"] && '
            f"{OURS}.productName.replace(' ', '-') in [\"{H100}\"]",
            id="a product, and a media extension",
        ),
    ],
)  # fmt: skip
def test_a_claim_selects_profile_and_product(resource: str, products: list[str], expression: str) -> None:
    assigned = accelerators.AssignedAccelerator(resource=resource, count=1, products=products)
    built = claims.build_claim_template("vision", "team", {"a": "b"}, assigned)
    [request] = built["spec"]["spec"]["devices"]["requests"]
    assert request["exactly"]["selectors"] == [{"cel": {"expression": expression}}]
    assert (request["exactly"]["deviceClassName"], request["exactly"]["count"]) == ("mig.nvidia.com", 1)
    assert built["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "gpufleet", "a": "b"}


def test_whole_devices_are_not_claimed_as_slices() -> None:
    whole = SLICE.model_copy(update={"resource": "nvidia.com/gpu"})
    with pytest.raises(ValueError, match="is no MIG slice"):
        claims.build_claim_template("vision", "team", {}, whole)


def test_a_pod_asks_by_claim_instead_of_by_resource() -> None:
    given = {"resources": {"limits": {"cpu": "1"}}}
    template = pod.build_template(builders.make_service(template=given), SLICE, None, settings.Settings())
    found = claims.use_claim(template, "triton", SLICE.resource, "vision-slice")
    assert found["spec"]["resourceClaims"] == [{"name": "slice", "resourceClaimTemplateName": "vision-slice"}]
    agent, triton = found["spec"]["containers"]
    assert triton["resources"] == {"limits": {"cpu": "1"}, "claims": [{"name": "slice"}]}
    assert agent == template["spec"]["containers"][0]
    assert SLICE.resource in str(template["spec"]["containers"]), "the template that was given is as it was"
