"""Keeps geometry and UUIDs in a file, so that a restart of the simulator is not a reset of its GPUs."""

from __future__ import annotations

import json
import logging
import os
import pathlib
from typing import Any

from gpufleet.decide.mig import geometry
from gpufleet.simgpu import device, inventory

log = logging.getLogger(__name__)


def save(path: pathlib.Path, stock: inventory.Inventory, boot_id: str) -> None:
    """Write the state; a crash leaves the old file or the new one, never half of it."""
    state = {
        "bootID": boot_id,
        "resources": sorted(stock.known_resources),
        "gpus": [_encode(gpu) for gpu in stock.gpus],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".tmp")
    fresh.write_text(json.dumps(state, indent=1))
    os.replace(fresh, path)


def restore(path: pathlib.Path, stock: inventory.Inventory, boot_id: str) -> None:
    """Bring back what `save` wrote, for GPUs that are still the same.

    Another boot id is a reboot: instances are gone, and the mode too where the board does not keep it.
    """
    state = _read(path)
    same_boot = state.get("bootID") == boot_id
    stock.known_resources = set(state.get("resources", ())) if same_boot else set()
    saved = {entry.get("uuid"): entry for entry in state.get("gpus", ())}
    for gpu in stock.gpus:
        entry = saved.get(gpu.uuid, {})
        if entry.get("product") == gpu.product:
            _restore_gpu(gpu, entry, same_boot)


def _restore_gpu(gpu: device.Gpu, entry: dict[str, Any], same_boot: bool) -> None:
    gpu.mig_enabled = bool(entry["migEnabled"]) and (same_boot or gpu.model.keeps_mig_mode_over_reboot)
    instances = [_decode(instance) for instance in entry["instances"]] if same_boot else []
    try:
        reason = geometry.why_illegal(gpu.model, [instance.placement for instance in instances])
    except geometry.UnknownProfileError as error:
        reason = str(error)
    if reason:
        log.warning("GPU %d starts without instances: %s", gpu.index, reason)
        return
    gpu.instances = instances


def _read(path: pathlib.Path) -> dict[str, Any]:
    try:
        state = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read (%s): GPUs start without instances", path, error)
        return {}
    return state if isinstance(state, dict) else {}


def _encode(gpu: device.Gpu) -> dict[str, Any]:
    return {
        "uuid": gpu.uuid,
        "product": gpu.product,
        "migEnabled": gpu.mig_enabled,
        "instances": [
            {"giId": i.gi_id, "profile": i.profile, "start": i.placement.start, "uuid": i.uuid}
            for i in gpu.instances
        ],
    }


def _decode(entry: dict[str, Any]) -> device.Instance:
    return device.Instance(entry["giId"], geometry.Placement(entry["profile"], entry["start"]), entry["uuid"])
