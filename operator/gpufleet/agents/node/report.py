"""The annotation `gpufleet.dev/devices` as text; equal for equal facts. docs/mig.md has its form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from gpufleet.agents.node import hardware, holders
from gpufleet.decide.mig import catalogue


def render(boot_id: str, gpus: hardware.Gpus, held: Sequence[holders.Held], token: str) -> str:
    """The JSON; with `token` it says to whoever asked that it was read afterwards.

    A held device that none of these GPUs has could be on any: its pod is written on all of them, so that
    nothing on this node is taken for free.
    """
    pods = {one.id: one.pod for one in reversed(held)}
    known = {uuid for gpu in gpus for uuid in _ids_of(gpu)}
    unplaced = next((one.pod for one in held if _gpu_part(one.id) not in known), "")
    document: dict[str, Any] = {
        "bootID": boot_id,
        "gpus": [_render_gpu(gpu, pods, held, unplaced) for gpu in gpus],
    }
    return json.dumps(document | ({"token": token} if token else {}), separators=(",", ":"))


def read_token(text: str) -> str:
    """The token in an annotation that is there already; empty where it has none, or is no JSON of ours."""
    try:
        return str(json.loads(text)["token"])
    except (ValueError, KeyError, TypeError):
        return ""


def _ids_of(gpu: hardware.Gpu) -> set[str]:
    indices = {str(gpu.index)} if gpu.index != hardware.UNKNOWN else set()
    return {gpu.uuid, *(one.uuid for one in gpu.instances), *indices}


def _gpu_part(device_id: str) -> str:
    """`1` of `1:0`, the plugin's id of a slice by indices: which slice it is depends on NVML's numbering."""
    index, separator, _ = device_id.partition(":")
    return index if separator and index.isdecimal() else device_id


def _render_gpu(
    gpu: hardware.Gpu, pods: Mapping[str, str], held: Sequence[holders.Held], unplaced: str
) -> dict[str, Any]:
    by_index = next((one.pod for one in held if _gpu_part(one.id) == str(gpu.index)), "")
    model = catalogue.model_of_product(gpu.product)
    placed = sorted(gpu.instances, key=lambda one: (one.start, one.uuid))
    return {
        "index": gpu.index,
        "uuid": gpu.uuid,
        "model": model.name if model else gpu.product,
        "mig": gpu.mig,
        "instances": [
            {"uuid": one.uuid, "profile": one.profile, "start": one.start, "pod": pods.get(one.uuid, "")}
            for one in placed
        ],
        "pod": pods.get(gpu.uuid, "") or by_index or unplaced,
    }
