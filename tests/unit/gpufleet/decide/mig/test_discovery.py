"""mig-manager's configuration of a node → what the catalogue lacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gpufleet.decide.mig import catalogue, discovery

H100 = {"1g.10gb": 7, "1g.10gb+me": 1, "1g.20gb": 4, "2g.20gb": 3, "3g.40gb": 2, "4g.40gb": 1, "7g.80gb": 1}
A30 = {"1g.6gb": 4, "1g.6gb+me": 1, "2g.12gb": 2, "2g.12gb+me": 1, "4g.24gb": 1}
CAPABLE = [one for one in catalogue.default().models if one.is_mig_capable]


def config(*nodes: tuple[str, Mapping[str, int]]) -> str:
    """As mig-manager makes it, of devices by PCI id; one kind has no filter."""
    configs: dict[str, list[dict[str, Any]]] = {
        "all-disabled": [{"devices": "all", "mig-enabled": False}],
        "all-enabled": [{"devices": "all", "mig-enabled": True, "mig-devices": {}}],
        "all-balanced": [
            {"devices": "all", "mig-enabled": True, "mig-devices": {"1g.10gb": 2, "3g.40gb": 1}}
        ],
    }
    for pci_id, counts in nodes:
        for profile, count in counts.items():
            entry: dict[str, Any] = {"devices": "all", "mig-enabled": True, "mig-devices": {profile: count}}
            if pci_id:
                entry["device-filter"] = [f"0x{pci_id}10DE"]
            configs.setdefault(f"all-{profile.replace('+', '.')}", []).append(entry)
    return yaml.safe_dump({"version": "v1", "mig-configs": configs})


def overlay(counts: Mapping[str, int], device: str = "", pci_id: str = "", **new: str) -> dict[str, Any]:
    [found] = discovery.read(config((pci_id, counts)))
    model = discovery.NewModel(**new) if new else None
    return discovery.build_overlay(found, catalogue.default(), device, model)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(config(("", H100)), id="a configuration"),
        pytest.param(yaml.safe_dump({"kind": "ConfigMap", "data": {"config.yaml": config(("", H100))}}),
                     id="the ConfigMap"),
    ],
)  # fmt: skip
def test_the_most_of_each_profile_is_read(text: str) -> None:
    assert discovery.read(text) == (discovery.Found("", H100),)


def test_several_devices_of_a_node_are_told_apart() -> None:
    found = discovery.read(config(("2330", H100), ("20B7", A30)))
    assert found == (discovery.Found("20B7", A30), discovery.Found("2330", H100))


@pytest.mark.parametrize("text", ["a: [", "- 1", "version: v1", "data: {}", "mig-configs: {}"])
def test_what_mig_manager_does_not_make_is_refused(text: str) -> None:
    with pytest.raises(discovery.DiscoveryError):
        discovery.read(text)


@pytest.mark.parametrize("model", CAPABLE, ids=lambda one: one.name)
def test_what_the_catalogue_says_already_adds_nothing(model: Any) -> None:
    counts = {profile.name: profile.shape.max_instances for profile in model.profiles}
    assert overlay(counts, device=model.name) == {}


def test_another_spelling_becomes_the_first() -> None:
    spelt = {("3g.38gb" if name == "3g.40gb" else name): count for name, count in H100.items()}
    expected = {"name": "H100-80GB-SXM", "profiles": {"3g": {"names": ["3g.38gb", "3g.40gb", "3g.39gb"]}}}
    assert overlay(spelt, device="h100-80gb-sxm") == expected
    changed = catalogue.extended(yaml.safe_dump({"models": [expected]}))
    [model] = [one for one in changed.models if one.name == "H100-80GB-SXM"]
    assert "3g.38gb" in [profile.name for profile in model.profiles]


def test_a_device_is_known_by_its_pci_id() -> None:
    spelt = {("1g.5gb" if name == "1g.6gb" else name): count for name, count in A30.items()}
    assert overlay(spelt, pci_id="20B7") == {
        "name": "A30",
        "profiles": {"1g": {"names": ["1g.5gb", "1g.6gb"]}},
    }


def test_a_new_device_is_described_by_one_that_is_like_it() -> None:
    counts = {"1g.30gb": 7, "1g.60gb": 4, "2g.60gb": 3, "3g.120gb": 2, "4g.120gb": 1, "7g.240gb": 1}
    found = overlay(counts, pci_id="3399", name="Z300", like="B200", product="NVIDIA-Z300")
    changed = catalogue.extended(yaml.safe_dump({"models": [found]}))
    model = catalogue.model_of_product("NVIDIA-Z300", changed)
    assert model is not None
    assert (model.device_class, model.memory_mib, model.pci_ids) == ("z300", 240 * 1024, ("3399",))
    assert {one.name: one.shape.max_instances for one in model.profiles if "+" not in one.name} == counts


@pytest.mark.parametrize(
    ("counts", "options", "said"),
    [
        pytest.param(H100, {}, "does not name its device", id="one kind, no name"),
        pytest.param(H100, {"pci_id": "FFFF"}, "no device FFFF", id="an unknown PCI id"),
        pytest.param(H100, {"device": "H9000"}, "no device H9000", id="an unknown name"),
        pytest.param(H100, {"device": "L40S"}, "has no MIG", id="a device without MIG"),
        pytest.param(
            {"1g.12gb": 1}, {"device": "RTX-PRO-6000"}, "no shape of family R12", id="cut otherwise"
        ),
        pytest.param({"c1.9gb": 1}, {"device": "A30"}, "no shape of family Q4", id="no profile"),
        pytest.param(
            A30, {"name": "Z", "like": "L40S", "product": ""}, "no model L40S with MIG", id="like what"
        ),
    ],
)
def test_what_cannot_be_placed_is_said(counts: dict[str, int], options: dict[str, str], said: str) -> None:
    with pytest.raises(discovery.DiscoveryError, match=said):
        overlay(counts, **options)


@given(st.sampled_from(CAPABLE), st.integers(1, 999))
def test_any_spelling_of_a_known_device_gives_a_catalogue_that_has_it(model: Any, memory_gb: int) -> None:
    first = model.profiles[0]
    spelt = f"{first.name.split('.')[0]}.{memory_gb}gb"
    others = {one.name: one.shape.max_instances for one in model.profiles if one.shape.key != first.shape.key}
    if spelt in others:
        return
    found = overlay({spelt: first.shape.max_instances}, device=model.name)
    changed = catalogue.extended(yaml.safe_dump({"models": [found] if found else []}))
    [again] = [one for one in changed.models if one.name == model.name]
    assert catalogue.profile(again, spelt) is not None
