"""Reads catalogue data into values. Raises CatalogueError with the entry's name for data that cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from gpufleet.decide.mig import devices

_ESTIMATED_SHARE = 0.96
"""Usable part of a memory unit; A100 and H100 profiles have 0.96 to 0.98 of their arithmetic share."""
_MIB_STEP = 128
_PLAIN_FIELDS = ("name", "like", "class", "groups", "architecture", "family", "products", "pciIds")
_FIGURES = ("memoryMib", "sm", "powerW", "resource", "profiles")
_MODEL_FIELDS = frozenset((*_PLAIN_FIELDS, *_FIGURES))


class CatalogueError(ValueError):
    """The catalogue's data contradicts itself or lacks a field."""


def parse_models(text: str, *overrides: str) -> tuple[devices.DeviceModel, ...]:
    """All models of a catalogue file, changed and extended by others in turn. Raises CatalogueError.

    An override has the same form: what it says of a family or model of a known name changes that one,
    field by field (lists are replaced, null removes), and other names are added.
    """
    data = _load(text)
    try:
        for override in overrides:
            data = merge(data, _load(override))
        families = {name: _parse_family(name, entry) for name, entry in data["families"].items()}
        entries = {entry["name"]: entry for entry in data["models"]}
        models = tuple(_parse_entry(_inherit(entry, entries), families) for entry in data["models"])
    except (KeyError, TypeError, AttributeError) as error:
        raise CatalogueError(f"catalogue: {error!r} is missing or has the wrong shape") from error
    _check_products(models)
    return models


def merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Catalogue data with an override laid over it; the arguments stay as they are. Raises CatalogueError."""
    if unknown := sorted(override.keys() - {"families", "models"}):
        raise CatalogueError(f"catalogue: {unknown[0]} is unknown; there are families and models")
    models = {entry["name"]: entry for entry in base["models"]}
    for entry in override.get("models") or ():
        models[entry["name"]] = _overlay(models.get(entry["name"], {}), entry)
    families = _overlay(base["families"], override.get("families") or {})
    return {"families": families, "models": list(models.values())}


def _overlay(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings are merged, null removes a key, everything else replaces."""
    found = {key: value for key, value in base.items() if key not in override}
    for key, value in override.items():
        if isinstance(value, Mapping):
            below = base.get(key)
            found[key] = _overlay(below if isinstance(below, Mapping) else {}, value)
        elif value is not None:
            found[key] = value
    return found


def _load(text: str) -> Mapping[str, Any]:
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CatalogueError(f"catalogue: not YAML: {error}") from error
    if not isinstance(data, Mapping):
        raise CatalogueError("catalogue: not a mapping of families and models")
    return data


def _parse_entry(entry: Mapping[str, Any], families: Mapping[str, devices.Family]) -> devices.DeviceModel:
    if unknown := sorted(entry.keys() - _MODEL_FIELDS):
        raise CatalogueError(f"model {entry['name']}: {unknown[0]} is no field of a model")
    try:
        return _parse_model(entry, families)
    except (KeyError, TypeError, AttributeError) as error:
        raise CatalogueError(f"model {entry['name']}: {error!r} is missing or has the wrong shape") from error


def _check_products(models: tuple[devices.DeviceModel, ...]) -> None:
    owners: dict[str, str] = {}
    for model in models:
        for product in model.products:
            if (other := owners.setdefault(product, model.name)) != model.name:
                raise CatalogueError(f"model {model.name}: the product {product} is {other} already")


def _inherit(entry: Mapping[str, Any], entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {**entries[entry["like"]], **entry} if "like" in entry else dict(entry)


def _parse_family(name: str, entry: Mapping[str, Any]) -> devices.Family:
    shapes = tuple(_parse_shape(key, shape) for key, shape in entry["shapes"].items())
    units = entry["memoryUnits"]
    for shape in shapes:
        if any(start + shape.size > units for start in shape.starts):
            raise CatalogueError(f"family {name}: shape {shape.key} reaches beyond {units} memory units")
    return devices.Family(name, entry["computeSlices"], units, entry["mediaEngines"], shapes)


def _parse_shape(key: str, entry: Mapping[str, Any]) -> devices.Shape:
    return devices.Shape(
        key=key,
        compute=entry["compute"],
        size=entry["size"],
        starts=tuple(sorted(entry["starts"])),
        max_instances=entry["max"],
        gi_profile_id=entry["gi"],
        media_engines=entry.get("media", 0),
        takes_extension=entry.get("extension", False),
    )


def _parse_model(entry: Mapping[str, Any], families: Mapping[str, devices.Family]) -> devices.DeviceModel:
    family = families[entry["family"]] if "family" in entry else None
    return devices.DeviceModel(
        name=entry["name"],
        device_class=entry["class"],
        groups=tuple(entry.get("groups", ())),
        architecture=entry["architecture"],
        family=family,
        products=tuple(entry.get("products", ())),
        pci_ids=tuple(entry.get("pciIds", ())),
        memory_mib=entry["memoryMib"],
        multiprocessors=entry.get("sm", 0),
        power_limit_w=entry["powerW"],
        resource=entry.get("resource", devices.GPU_RESOURCE),
        profiles=_parse_profiles(entry, family) if family else (),
    )


def _parse_profiles(entry: Mapping[str, Any], family: devices.Family) -> tuple[devices.Profile, ...]:
    found = []
    for shape in family.shapes:
        plain, suffix = _split_suffix(shape.key)
        if plain in entry["profiles"]:
            found.append(_parse_profile(entry["profiles"][plain], suffix, shape, entry, family))
    return tuple(found)


def _split_suffix(key: str) -> tuple[str, str]:
    for index, letter in enumerate(key):
        if letter in "+-":
            return key[:index], key[index:]
    return key, ""


def _parse_profile(
    figures: Mapping[str, Any],
    suffix: str,
    shape: devices.Shape,
    model: Mapping[str, Any],
    family: devices.Family,
) -> devices.Profile:
    name, *others = figures["names"]
    return devices.Profile(
        name=name + suffix,
        other_names=tuple(other + suffix for other in others),
        shape=shape,
        memory_mib=min(figures.get("memoryMib") or [_estimate_memory_mib(model, shape, family)]),
        multiprocessors=figures.get("sm") or model["sm"] * shape.compute // family.compute_slices,
        is_estimate="memoryMib" not in figures or "sm" not in figures,
    )


def _estimate_memory_mib(model: Mapping[str, Any], shape: devices.Shape, family: devices.Family) -> int:
    share = model["memoryMib"] * shape.size / family.memory_units * _ESTIMATED_SHARE
    return int(share) // _MIB_STEP * _MIB_STEP
