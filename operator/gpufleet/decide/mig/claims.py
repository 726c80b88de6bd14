"""MIG slices by ResourceClaim, where NVIDIA's DRA driver offers partitionable devices; pure.

There a slice is made when a pod gets it and goes with it: the scheduler chooses among every placement that
the driver publishes (KEP-4815), so nobody plans layouts on those nodes. Names and attributes are the
driver's: driver and attribute domain gpu.nvidia.com, DeviceClass mig.nvidia.com, attributes type, profile and
productName (kubernetes-sigs/dra-driver-nvidia-gpu).
"""

from __future__ import annotations

import collections
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from gpufleet.api import accelerator as accelerators
from gpufleet.decide.mig import catalogue
from gpufleet.decide.resources import meta

API_VERSION = "resource.k8s.io/v1"
DRIVER = "gpu.nvidia.com"
DEVICE_CLASS = "mig.nvidia.com"
REQUEST = "slice"
"""Name of the request in the claim, and of the claim in the pod."""

Object = Mapping[str, Any]


def find_offers(slices: Iterable[Object]) -> dict[str, frozenset[str]]:
    """Profiles that can be made, by node, of ResourceSlices; devices that share no counters are static."""
    found: dict[str, set[str]] = collections.defaultdict(set)
    for one in slices:
        spec = one["spec"]
        if spec.get("driver") == DRIVER and spec.get("nodeName"):
            found[spec["nodeName"]].update(_profiles(spec.get("devices") or ()))
    return {node: frozenset(profiles) for node, profiles in sorted(found.items()) if profiles}


def offers_slices(classes: Iterable[Object], slices: Iterable[Object]) -> bool:
    """Whether the cluster has what a claim asks for: the DeviceClass, and a node that makes slices."""
    named = {one["metadata"]["name"] for one in classes}
    return DEVICE_CLASS in named and bool(find_offers(slices))


def build_claim_template(
    name: str, namespace: str, labels: Mapping[str, str], assigned: accelerators.AssignedAccelerator
) -> dict[str, Any]:
    """The template of the claim for one slice of each pod. Raises ValueError where none is assigned."""
    profile = catalogue.profile_of_resource(assigned.resource)
    if profile is None:
        raise ValueError(f"{assigned.resource} is no MIG slice")
    exactly = {
        "deviceClassName": DEVICE_CLASS,
        "allocationMode": "ExactCount",
        "count": assigned.count,
        "selectors": [{"cel": {"expression": _select(profile, assigned.products)}}],
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "ResourceClaimTemplate",
        "metadata": meta.build_meta(name, namespace, labels),
        # The API server stores the empty metadata as well.
        "spec": {"metadata": {}, "spec": {"devices": {"requests": [{"name": REQUEST, "exactly": exactly}]}}},
    }


def use_claim(template: Object, container: str, resource: str, claim_template: str) -> dict[str, Any]:
    """The pod template with the claim for this container instead of the extended resource."""
    spec = template["spec"]
    claims = [*spec.get("resourceClaims", ()), _refer(claim_template)]
    containers = [
        _claim(one, resource) if one["name"] == container else dict(one) for one in spec["containers"]
    ]
    return {**template, "spec": {**spec, "containers": containers, "resourceClaims": claims}}


def _refer(claim_template: str) -> dict[str, str]:
    return {"name": REQUEST, "resourceClaimTemplateName": claim_template}


def _claim(container: Object, resource: str) -> dict[str, Any]:
    resources = container.get("resources", {})
    rest = {
        part: {name: amount for name, amount in resources.get(part, {}).items() if name != resource}
        for part in ("requests", "limits")
    }
    return {**container, "resources": meta.without_empty({**rest, "claims": [{"name": REQUEST}]})}


def _select(profile: str, products: Sequence[str]) -> str:
    """By every driver's spelling of the profile on these products; labels write names with dashes."""
    attributes = f"device.attributes['{DRIVER}']"
    models = [model for one in products if (model := catalogue.model_of_product(one))]
    known = [catalogue.profile(model, profile) for model in models]
    spellings = {profile, *(name for one in known if one for name in (one.name, *one.other_names))}
    wanted = f"{attributes}.profile in {json.dumps(sorted(spellings))}"
    if not products:
        return wanted
    return f"{wanted} && {attributes}.productName.replace(' ', '-') in {json.dumps(sorted(products))}"


def _profiles(devices: Iterable[Object]) -> Iterator[str]:
    for device in devices:
        attributes = device.get("attributes") or {}
        if _text(attributes, "type") == "mig" and device.get("consumesCounters"):
            yield _text(attributes, "profile")


def _text(attributes: Object, name: str) -> str:
    """An attribute of the driver, with its domain or, as the driver's own, without."""
    one = attributes.get(name) or attributes.get(f"{DRIVER}/{name}") or {}
    return str(one.get("string", ""))
