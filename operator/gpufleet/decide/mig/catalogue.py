"""The device catalogue: products, classes and profiles by name, read once from catalogue.yaml."""

from __future__ import annotations

import dataclasses
import functools
import re
from importlib import resources

from gpufleet.decide.mig import devices, parse

MIG_RESOURCE_PREFIX = "nvidia.com/mig-"
_SHARED_SUFFIX = re.compile(r"(-MIG-[\w.+-]+)?(-SHARED)?$")


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """All known device models, in the order of the data file."""

    models: tuple[devices.DeviceModel, ...]

    @functools.cached_property
    def by_product(self) -> dict[str, devices.DeviceModel]:
        return {product: model for model in self.models for product in model.products}

    @functools.cached_property
    def by_class(self) -> dict[str, tuple[devices.DeviceModel, ...]]:
        """Models by class name and by every wider group name."""
        found: dict[str, tuple[devices.DeviceModel, ...]] = {}
        for model in self.models:
            for name in (model.device_class, *model.groups):
                found[name] = (*found.get(name, ()), model)
        return found


@functools.cache
def default() -> Catalogue:
    """The catalogue that ships with gpufleet."""
    return extended()


def extended(*overrides: str) -> Catalogue:
    """The shipped catalogue, changed and extended by YAML of the same form, in turn.

    Raises parse.CatalogueError with the entry's name.
    """
    text = resources.files("gpufleet.decide.mig").joinpath("catalogue.yaml").read_text("utf-8")
    return Catalogue(parse.parse_models(text, *overrides))


def model_of_product(product: str, catalogue: Catalogue | None = None) -> devices.DeviceModel | None:
    """The model behind a value of `nvidia.com/gpu.product`; None for one that nobody described.

    Suffixes that GPU feature discovery adds (-MIG-<profile>, -SHARED) are looked through.
    """
    known = (catalogue or default()).by_product
    return known.get(product) or known.get(_SHARED_SUFFIX.sub("", product))


def models_of_class(name: str, catalogue: Catalogue | None = None) -> tuple[devices.DeviceModel, ...]:
    """Models that satisfy `accelerator.class`: a class (h100-80gb) or a group (h100); empty if unknown."""
    return (catalogue or default()).by_class.get(name, ())


def class_names(catalogue: Catalogue | None = None) -> tuple[str, ...]:
    """Every name that `accelerator.class` may have, sorted."""
    return tuple(sorted((catalogue or default()).by_class))


def profile(model: devices.DeviceModel, name: str) -> devices.Profile | None:
    """A profile of this model by any driver's spelling of its name; None if the model lacks it."""
    return model.profiles_by_name.get(name)


def resource_name(profile_name: str) -> str:
    """The extended resource of a profile under the mixed strategy: 1g.10gb+me → nvidia.com/mig-1g.10gb.me."""
    return MIG_RESOURCE_PREFIX + profile_name.replace("+", ".")


def profile_of_resource(resource: str) -> str | None:
    """Inverse of `resource_name`; None for a resource that is no MIG slice."""
    if not resource.startswith(MIG_RESOURCE_PREFIX):
        return None
    parts = resource.removeprefix(MIG_RESOURCE_PREFIX).split(".", 2)
    return ".".join(parts[:2]) + "".join(f"+{suffix}" for suffix in parts[2:])
