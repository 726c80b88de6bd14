"""Reads what a node agent has published of its node's devices."""

from __future__ import annotations

import logging

import msgspec

from gpufleet.state import devices, names

_log = logging.getLogger(__name__)


class _Instance(msgspec.Struct):
    uuid: str
    profile: str
    start: int
    pod: str = ""


class _Gpu(msgspec.Struct):
    index: int
    uuid: str
    model: str = ""
    mig: bool = False
    instances: list[_Instance] = msgspec.field(default_factory=list)
    pod: str = ""


class _Map(msgspec.Struct):
    boot_id: str = msgspec.field(name="bootID")
    gpus: list[_Gpu]
    token: str = ""


def read(node: str, text: str | None) -> devices.DeviceMap | None:
    """None where nothing was published, or nothing that can be read, which is logged."""
    if text is None:
        return None
    try:
        found = msgspec.json.decode(text, type=_Map)
    except msgspec.DecodeError as error:
        _log.warning("%s of node %s cannot be read: %s", names.DEVICES_ANNOTATION, node, error)
        return None
    gpus = sorted(found.gpus, key=lambda one: one.index)
    return devices.DeviceMap(found.boot_id, tuple(_read_gpu(one) for one in gpus), found.token)


def _read_gpu(gpu: _Gpu) -> devices.Gpu:
    instances = sorted(gpu.instances, key=lambda one: one.start)
    return devices.Gpu(
        index=gpu.index,
        uuid=gpu.uuid,
        model=gpu.model,
        mig=gpu.mig,
        instances=tuple(devices.Instance(one.uuid, one.profile, one.start, one.pod) for one in instances),
        pod=gpu.pod,
    )
