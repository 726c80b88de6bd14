"""The GPUs of this node and how they are cut, as the simulator's file, NVML or the kubelet know them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import json
import pathlib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gpufleet.decide.mig import catalogue

UNKNOWN = -1
"""An index or a start that nobody here could tell."""
LIMIT_S = 10.0
"""How long the driver may take to answer."""


class HardwareError(Exception):
    """The GPUs cannot be read now; the message says why."""


class NoLibraryError(Exception):
    """There is no NVML on this node."""


@dataclasses.dataclass(frozen=True, slots=True)
class Instance:
    """A MIG slice; `start` in memory units of its GPU."""

    uuid: str
    profile: str
    start: int


@dataclasses.dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU; `product` as in the label nvidia.com/gpu.product."""

    index: int
    uuid: str
    product: str
    mig: bool
    instances: tuple[Instance, ...] = ()


Gpus = tuple[Gpu, ...]
Offered = Mapping[str, Sequence[str]]
"""Device ids per resource, as the kubelet may hand them out."""


class Reader:
    """Reads the GPUs from the best source that this node has, without ever holding up its caller."""

    def __init__(
        self, state: pathlib.Path, read_driver: Callable[[], Gpus], limit_s: float = LIMIT_S
    ) -> None:
        self._state = state
        self._limit_s = limit_s
        self._read_driver = read_driver
        self._asked: concurrent.futures.Future[Gpus] | None = None

    async def read(self, offered: Offered) -> Gpus:
        """The GPUs as they are now. Raises HardwareError."""
        if self._state.exists():
            return read_simulated(self._state)
        try:
            return await self._ask_driver()
        except NoLibraryError:
            return from_offered(offered)

    async def _ask_driver(self) -> Gpus:
        """In a thread that the process does not wait for: a driver may hang, and then one thread is enough.

        What such a thread says in the end is not used: it may be older than the question.
        """
        if self._asked is not None and not self._asked.done():
            raise HardwareError("the driver still has not answered")
        self._asked = concurrent.futures.Future()
        threading.Thread(target=_resolve, args=(self._asked, self._read_driver), daemon=True).start()
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._asked)), self._limit_s)
        except TimeoutError as error:
            raise HardwareError(f"the driver has not answered for {self._limit_s:.0f} s") from error


def _resolve(future: concurrent.futures.Future[Gpus], read: Callable[[], Gpus]) -> None:
    try:
        future.set_result(read())
    except Exception as error:
        future.set_exception(error)


def read_simulated(path: pathlib.Path) -> Gpus:
    """What simulated GPUs keep in their file (simgpu/store.py). Raises HardwareError."""
    try:
        state: dict[str, Any] = json.loads(path.read_text())
        return tuple(
            Gpu(
                index,
                gpu["uuid"],
                gpu["product"],
                bool(gpu["migEnabled"]),
                tuple(Instance(one["uuid"], one["profile"], one["start"]) for one in gpu["instances"]),
            )
            for index, gpu in enumerate(state["gpus"])
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HardwareError(f"{path}: {error!r}") from error


def from_offered(offered: Offered) -> Gpus:
    """What device ids alone tell: whole GPUs, and slices as those of one GPU that nobody could name."""
    whole: set[str] = set()
    slices: dict[str, str] = {}
    for resource, ids in offered.items():
        profile = catalogue.profile_of_resource(resource)
        for device_id in {one.partition("::")[0] for one in ids}:
            if device_id.startswith("MIG-"):
                slices[device_id] = profile or ""
            elif device_id.startswith("GPU-"):
                whole.add(device_id)
    cut = tuple(Instance(uuid, profile, UNKNOWN) for uuid, profile in sorted(slices.items()))
    gpus = tuple(Gpu(UNKNOWN, uuid, "", False) for uuid in sorted(whole))
    return gpus + ((Gpu(UNKNOWN, "", "", True, cut),) if cut else ())
