"""GPU feature discovery's labels for what the node's GPUs are now."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping

from gpufleet.decide.mig import catalogue, devices, geometry
from gpufleet.simgpu import device, inventory

PREFIX = "nvidia.com/"
CAPABLE = PREFIX + "mig.capable"
STRATEGY = PREFIX + "mig.strategy"
_GPU = PREFIX + "gpu"
_FIGURES = (
    "count", "product", "memory", "multiprocessors", "replicas", "sharing-strategy",
    "slices.gi", "slices.ci", "family", "present",
)  # fmt: skip
_GPU_KEYS = frozenset(f"{_GPU}.{name}" for name in _FIGURES) | {CAPABLE, STRATEGY}


def build_labels(stock: inventory.Inventory) -> dict[str, str]:
    """All labels of the node that come from its GPUs."""
    if not stock.gpus:
        return {}
    first = stock.gpus[0]
    labels = {
        f"{_GPU}.present": "true",
        f"{_GPU}.family": first.model.architecture.lower(),
        CAPABLE: _boolean(any(gpu.model.is_mig_capable for gpu in stock.gpus)),
        STRATEGY: stock.strategy,
        **_build_gpu_figures(stock.gpus),
    }
    any_mig = any(gpu.mig_enabled for gpu in stock.gpus)
    if stock.strategy == "mixed":
        return labels | _build_mixed(stock.gpus)
    return labels | (_build_single(stock) if any_mig else {})


def plan_patch(current: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str | None]:
    """Merge patch of metadata.labels: what differs, and None for labels of ours that no longer hold."""
    changed: dict[str, str | None] = {k: v for k, v in wanted.items() if current.get(k) != v}
    stale: dict[str, str | None] = {key: None for key in current if _is_ours(key) and key not in wanted}
    return changed | stale


def _is_ours(key: str) -> bool:
    return key in _GPU_KEYS or key.startswith(catalogue.MIG_RESOURCE_PREFIX)


def _build_gpu_figures(gpus: list[device.Gpu]) -> dict[str, str]:
    first = gpus[0]
    whole = [gpu for gpu in gpus if not gpu.mig_enabled]
    return {
        f"{_GPU}.product": first.product,
        f"{_GPU}.count": str(len(gpus)),
        f"{_GPU}.memory": str(first.model.memory_mib),
        f"{_GPU}.multiprocessors": str(first.model.multiprocessors),
        f"{_GPU}.replicas": "1" if whole else "0",
        f"{_GPU}.sharing-strategy": "none",
    }


def _build_mixed(gpus: Iterable[device.Gpu]) -> dict[str, str]:
    labels: dict[str, str] = {}
    first: dict[str, device.Gpu] = {}
    counts: collections.Counter[str] = collections.Counter()
    for gpu in gpus:
        for instance in gpu.instances:
            counts[instance.profile] += 1
            first.setdefault(instance.profile, gpu)
    for name, count in counts.items():
        gpu = first[name]
        labels |= _build_figures(
            catalogue.resource_name(name), gpu, geometry.profile_of(gpu.model, name), count
        )
    return labels


def _build_single(stock: inventory.Inventory) -> dict[str, str]:
    first = stock.gpus[0]
    if stock.single_profile is None:
        return {
            f"{_GPU}.product": f"{first.product}-MIG-INVALID",
            f"{_GPU}.count": "0",
            f"{_GPU}.replicas": "0",
            f"{_GPU}.memory": "0",
            f"{_GPU}.multiprocessors": "0",
        }
    profile = geometry.profile_of(first.model, stock.single_profile)
    return _build_figures(_GPU, first, profile, sum(len(gpu.instances) for gpu in stock.gpus))


def _build_figures(key: str, gpu: device.Gpu, profile: devices.Profile, count: int) -> dict[str, str]:
    slices = str(profile.shape.compute)
    return {
        f"{key}.count": str(count),
        f"{key}.product": f"{gpu.product}-MIG-{profile.name.replace('+', '.')}",
        f"{key}.memory": str(profile.memory_mib),
        f"{key}.multiprocessors": str(profile.multiprocessors),
        f"{key}.replicas": "1",
        f"{key}.sharing-strategy": "none",
        f"{key}.slices.gi": slices,
        f"{key}.slices.ci": slices,
    }


def _boolean(value: bool) -> str:
    return "true" if value else "false"
