"""Do the models of a server fit into the memory of its device?

Estimates are the author's (`models[].memory`, of one copy); what a pod has been seen to use corrects them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from gpufleet.api import accelerator as accelerators
from gpufleet.api import meta, triton_service
from gpufleet.api.triton import model
from gpufleet.decide.placement import accelerators as resources
from gpufleet.state import models

_NOTEWORTHY = 0.05
"""Relative change of what is used from which it is written down anew."""
_MIB = 2**20


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """MiB on one device: each model with all its copies, and what the device has."""

    by_model: Mapping[str, int]
    available_mib: int | None

    @property
    def needed_mib(self) -> int:
        return sum(self.by_model.values())


def estimate(
    service: triton_service.TritonService,
    assigned: accelerators.AssignedAccelerator | None,
    counts: Mapping[str, int] | None = None,
) -> Estimate:
    """Models without an estimate count nothing; `counts` are copies that somebody else has chosen."""
    known = {
        one.name: _read_mib(one) * (counts or {}).get(one.name, count_copies(one))
        for one in service.spec.models
        if one.memory is not None
    }
    return Estimate(known, resources.find_unit_memory_mib(assigned) if assigned else None)


def count_copies(one: model.Model) -> int:
    """Copies on each device."""
    if not one.instance_groups:
        return 1
    return sum(group.count for group in one.instance_groups if group.kind != "CPU")


def find_fault(found: Estimate) -> str:
    """Why the models cannot run together; empty where they can, as far as is known."""
    if found.available_mib is None or found.needed_mib <= found.available_mib:
        return ""
    parts = ", ".join(f"{name} {mib} MiB" for name, mib in sorted(found.by_model.items()))
    return (
        f"the models need {found.needed_mib} MiB of device memory ({parts}), and the accelerator has "
        f"{found.available_mib} MiB: ask for a larger one, lower instanceGroups, or split the service"
    )


def limit_copies(
    service: triton_service.TritonService, assigned: accelerators.AssignedAccelerator | None, name: str
) -> int | None:
    """Copies of the model that fit beside all others; None where that is not known."""
    found = estimate(service, assigned)
    one = next(one for one in service.spec.models if one.name == name)
    if found.available_mib is None or one.memory is None:
        return None
    others_mib = found.needed_mib - found.by_model[name]
    return max(1, (found.available_mib - others_mib) // max(1, _read_mib(one)))


def build_status(
    found: Estimate,
    before: triton_service.MemoryStatus | None,
    reports: Mapping[str, models.AgentReport],
) -> triton_service.MemoryStatus | None:
    """What is needed, used and there; None where nothing is known. What is used has a dead band."""
    seen = [one.memory_used_mib for one in reports.values() if one.memory_used_mib is not None]
    used_mib = max(seen, default=None)
    old_mib = before.used_mebibytes if before else None
    if used_mib is None or (old_mib and abs(used_mib - old_mib) <= _NOTEWORTHY * old_mib):
        used_mib = old_mib
    if not found.by_model and used_mib is None:
        return None
    return triton_service.MemoryStatus(
        needed_mebibytes=found.needed_mib,
        used_mebibytes=used_mib,
        available_mebibytes=found.available_mib,
        message=_describe(found, used_mib),
    )


def _describe(found: Estimate, used_mib: int | None) -> str:
    """Whether the largest model can be reloaded beside the copy that serves."""
    if found.available_mib is None or not found.by_model:
        return ""
    # What was seen to be used holds for all models alike: nobody can tell their shares.
    factor = used_mib / found.needed_mib if used_mib and found.needed_mib else 1.0
    name, mib = max(sorted(found.by_model.items()), key=lambda item: item[1])
    largest_mib = round(mib * factor)
    free_mib = found.available_mib - round(found.needed_mib * factor)
    if largest_mib <= free_mib:
        return f"{free_mib} MiB are free, so every model can be reloaded beside the copy that serves"
    return (
        f"{free_mib} MiB are free, and a reload of {name} takes {largest_mib} MiB beside the old copy: "
        "it will fail and the old one will stay; change it by a rollout of the template instead"
    )


def _read_mib(one: model.Model) -> int:
    return -(-meta.quantity_to_bytes(one.memory) // _MIB) if one.memory else 0
