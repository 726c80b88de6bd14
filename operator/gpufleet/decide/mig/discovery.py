"""Catalogue data from the configuration that mig-manager makes of a node's own GPUs; pure.

Since GPU Operator v26.3, without a configuration of its own, mig-manager writes for each node what NVML says:
`all-PROFILE` with the most instances of each profile, by PCI id where a node has several devices
(NVIDIA/mig-parted:pkg/mig/builder). Names are the driver's; placements and memory are not in it, so the
family is found by slices and maxima, and what is not known is taken from a model that is like it.
"""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import yaml

from gpufleet.decide.mig import catalogue, devices

CONFIG_KEY = "config.yaml"
_PROFILE = re.compile(r"([1-9])g\.([0-9]+)gb([+-].+)?")
_PCI_ID = re.compile(r"(?:0x)?([0-9A-Fa-f]{4})10[Dd][Ee](?::.*)?")
_MIB_PER_GB = 1024


class DiscoveryError(ValueError):
    """The configuration is not one that mig-manager makes, or does not tell which device it is of."""


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """One kind of device: the most instances of each profile. `pci_id` is empty where it is the only."""

    pci_id: str
    counts: Mapping[str, int]


@dataclasses.dataclass(frozen=True, slots=True)
class NewModel:
    """A device that the catalogue lacks: its name, its product label, and a model with its figures."""

    name: str
    like: str
    product: str


def read(text: str) -> tuple[Found, ...]:
    """Devices in a mig-parted configuration, or in the ConfigMap around it. Raises DiscoveryError."""
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for entries in _load_configs(text).values():
        for entry in entries:
            made = entry.get("mig-devices") or {}
            if entry.get("devices") != "all" or not entry.get("mig-enabled") or len(made) != 1:
                continue
            [(profile, most)] = made.items()
            for pci_id in _filters(entry):
                counts[pci_id][profile] = max(most, counts[pci_id].get(profile, 0))
    if not counts:
        raise DiscoveryError("no configuration says how many instances of one profile all devices take")
    return tuple(Found(pci_id, dict(sorted(found.items()))) for pci_id, found in sorted(counts.items()))


def _load_configs(text: str) -> Mapping[str, Any]:
    try:
        data = yaml.safe_load(text)
        if isinstance(data, Mapping) and "data" in data:
            data = yaml.safe_load(data["data"][CONFIG_KEY])
        configs: Mapping[str, Any] = data["mig-configs"]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise DiscoveryError(
            f"not a configuration of mig-parted, nor a ConfigMap with {CONFIG_KEY}"
        ) from error
    return configs


def _filters(entry: Mapping[str, Any]) -> list[str]:
    given = entry.get("device-filter") or [""]
    ids = [given] if isinstance(given, str) else given
    return [found[1].upper() if (found := _PCI_ID.fullmatch(one)) else one for one in ids]


def build_overlay(
    found: Found, known: catalogue.Catalogue, device: str = "", new: NewModel | None = None
) -> dict[str, Any]:
    """An entry of `models` for --catalogue; empty where the catalogue says all of it.

    The device is the one of this PCI id, else of this name. Raises DiscoveryError.
    """
    if new is not None:
        return _build_new(found, known, new)
    model = _find_model(found, known, device)
    if model.family is None:
        raise DiscoveryError(f"{model.name} has no MIG by the catalogue: describe it as a new model")
    shapes = _match(model.family, found)
    present = {profile.shape.key: profile for profile in model.profiles}
    changed: dict[str, Any] = {}
    for key, name in shapes.items():
        before = present.get(key)
        spellings = [before.name, *before.other_names] if before else []
        if name not in spellings:
            changed[key] = {"names": [name, *spellings]}
    return {"name": model.name, "profiles": changed} if changed else {}


def _find_model(found: Found, known: catalogue.Catalogue, device: str) -> devices.DeviceModel:
    if device:
        named = [one for one in known.models if device.lower() == one.name.lower()]
    else:
        named = [one for one in known.models if found.pci_id and found.pci_id in one.pci_ids]
    if len(named) == 1:
        return named[0]
    what = device or found.pci_id
    why = f"the catalogue has no device {what}" if what else "it does not name its device"
    raise DiscoveryError(f"{why}: give the model's name, or describe a new one")


def _build_new(found: Found, known: catalogue.Catalogue, new: NewModel) -> dict[str, Any]:
    like = next((one for one in known.models if one.name.lower() == new.like.lower()), None)
    if like is None or like.family is None:
        raise DiscoveryError(f"there is no model {new.like} with MIG")
    shapes = _match(like.family, found)
    largest_gb = max(int(match[2]) for name in found.counts if (match := _PROFILE.fullmatch(name)))
    return {
        "name": new.name,
        "like": like.name,
        "class": re.sub(r"[^a-z0-9-]+", "-", new.name.lower()).strip("-"),
        "groups": [],
        "products": [new.product] if new.product else [],
        "pciIds": [found.pci_id] if found.pci_id else [],
        "memoryMib": largest_gb * _MIB_PER_GB,
        "profiles": {key: {"names": [name]} for key, name in shapes.items()},
    }


def _match(family: devices.Family, found: Found) -> dict[str, str]:
    """The profile of each plain shape. Raises DiscoveryError where the family is cut in another way."""
    named: dict[str, str] = {}
    for name, most in found.counts.items():
        parts = _PROFILE.fullmatch(name)
        suffix = (parts[3] or "") if parts else ""
        fitting = [
            shape.key
            for shape in family.shapes
            if parts
            and shape.compute == int(parts[1])
            and shape.max_instances == most
            and _suffix(shape.key) == suffix
        ]
        if not fitting:
            raise DiscoveryError(
                f"{name} with at most {most} is no shape of family {family.name}: describe the family by hand"
            )
        if not suffix:
            named[fitting[0]] = name
    return dict(sorted(named.items()))


def _suffix(key: str) -> str:
    found = re.search(r"[+-].*", key)
    return found[0] if found else ""
