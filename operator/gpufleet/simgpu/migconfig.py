"""Named MIG configurations in mig-parted's schema, and what one asks of each GPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import pydantic
import yaml

from gpufleet.decide.mig import devices, geometry
from gpufleet.simgpu import device

NVIDIA_VENDOR = "10DE"


class ConfigError(ValueError):
    """The configuration file cannot be used; the message says which field."""


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class Entry(_Strict):
    """One item of a configuration: which GPUs, and what they are to become."""

    devices: Literal["all"] | tuple[int, ...]
    mig_enabled: Annotated[bool, pydantic.Field(alias="mig-enabled")]
    mig_devices: Annotated[
        dict[str, Annotated[int, pydantic.Field(ge=0)]], pydantic.Field(alias="mig-devices")
    ] = pydantic.Field(default_factory=dict)
    device_filter: Annotated[str | tuple[str, ...], pydantic.Field(alias="device-filter")] = ()

    @pydantic.model_validator(mode="after")
    def _devices_belong_to_enabled(self) -> Entry:
        given = "mig_devices" in self.model_fields_set
        if self.mig_enabled and not given:
            raise ValueError("mig-devices is required where mig-enabled is true")
        if not self.mig_enabled and self.mig_devices:
            raise ValueError("mig-devices needs mig-enabled: true")
        return self


class File(_Strict):
    """A mig-parted configuration file."""

    version: Literal["v1"]
    mig_configs: Annotated[dict[str, tuple[Entry, ...]], pydantic.Field(alias="mig-configs")]


Configs = Mapping[str, tuple[Entry, ...]]


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """What a GPU is to become; `counts` in our spelling of the profiles' names."""

    mig_enabled: bool
    counts: Mapping[str, int]

    @property
    def profiles(self) -> list[str]:
        return [name for name, count in self.counts.items() for _ in range(count)]


def parse(text: str) -> Configs:
    """Configurations of a file. Raises ConfigError."""
    try:
        return File.model_validate(yaml.safe_load(text)).mig_configs
    except (yaml.YAMLError, pydantic.ValidationError) as error:
        raise ConfigError(f"config.yaml is no mig-parted configuration: {error}") from error


def build_defaults(models: Iterable[devices.DeviceModel]) -> Configs:
    """What mig-manager generates for a node: all-disabled, all-enabled, all-<profile>, all-balanced."""
    configs = {"all-disabled": (_entry({}, enabled=False),), "all-enabled": (_entry({}),)}
    for model in models:
        for profile in model.profiles:
            name = f"all-{profile.name.replace('+', '.')}"
            configs.setdefault(name, (_entry({profile.name: profile.shape.max_instances}),))
        if balanced := _balance(model):
            configs.setdefault("all-balanced", (_entry(balanced),))
    return configs


def plan_wanted(entries: Iterable[Entry], gpus: Iterable[device.Gpu]) -> dict[int, Wanted]:
    """What each GPU is to become, by index; GPUs that no entry names are left alone, the last entry wins.

    Raises ConfigError for an index that the node lacks or a profile that the model lacks.
    """
    by_index = {gpu.index: gpu for gpu in gpus}
    wanted: dict[int, Wanted] = {}
    for entry in entries:
        for index in by_index if entry.devices == "all" else entry.devices:
            if index not in by_index:
                raise ConfigError(f"the configuration names GPU {index}; the node has {len(by_index)}")
            gpu = by_index[index]
            if _is_let_through(entry.device_filter, gpu.model):
                wanted[index] = _read_wanted(entry, gpu)
    return wanted


def _read_wanted(entry: Entry, gpu: device.Gpu) -> Wanted:
    counts: dict[str, int] = {}
    for name, count in entry.mig_devices.items():
        try:
            profile = geometry.profile_of(gpu.model, name)
        except geometry.UnknownProfileError as error:
            raise ConfigError(f"GPU {gpu.index}: {error}") from error
        if count:
            counts[profile.name] = counts.get(profile.name, 0) + count
    return Wanted(entry.mig_enabled, dict(sorted(counts.items())))


def _is_let_through(wanted: str | tuple[str, ...], model: devices.DeviceModel) -> bool:
    """Filters are `0x<device><vendor>`, as NVML packs the PCI id, with or without `:<subsystem>`."""
    filters = (wanted,) if isinstance(wanted, str) else wanted
    own = {f"0X{pci_id}{NVIDIA_VENDOR}".upper() for pci_id in model.pci_ids}
    return not filters or any(item.split(":")[0].upper() in own for item in filters)


def _balance(model: devices.DeviceModel) -> dict[str, int]:
    plain = {profile.shape.key: profile.name for profile in model.profiles}
    for shapes in ({"1g": 2, "2g": 1, "3g": 1}, {"1g": 2, "2g": 1}):
        if shapes.keys() <= plain.keys():
            counts = {plain[key]: count for key, count in shapes.items()}
            if geometry.is_count_feasible(model, [name for name, n in counts.items() for _ in range(n)]):
                return counts
    return {}


def _entry(counts: Mapping[str, int], *, enabled: bool = True) -> Entry:
    fields = {"devices": "all", "mig-enabled": enabled} | ({"mig-devices": dict(counts)} if enabled else {})
    return Entry.model_validate(fields)


def is_applied(gpu: device.Gpu, wanted: Wanted) -> bool:
    """Whether the GPU already is what is wanted; mig-parted compares counts, not placements."""
    return gpu.mig_enabled == wanted.mig_enabled and gpu.layout.counts == dict(wanted.counts)
