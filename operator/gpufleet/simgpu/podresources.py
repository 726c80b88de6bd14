"""Which container holds which device: the kubelet's PodResources, and what it has just been given."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Collection

import grpc

from gpufleet import clock as clock_
from gpufleet.kubelet import podresources_pb2 as pb
from gpufleet.kubelet import rpc
from gpufleet.simgpu import inventory

log = logging.getLogger(__name__)

GRACE_S = 10.0
"""How long an allocation counts as held before the kubelet lists it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Holder:
    """One container and the UUIDs of the devices it holds."""

    namespace: str
    pod: str
    container: str
    uuids: tuple[str, ...]


class Holdings:
    """Keeps the inventory's busy devices true."""

    def __init__(self, socket: pathlib.Path, stock: inventory.Inventory, clock: clock_.Clock) -> None:
        self._socket = socket
        self._stock = stock
        self._clock = clock
        self._allocated_s: dict[str, float] = {}
        self._silent = False
        self.holders: tuple[Holder, ...] = ()

    def note_allocated(self, uuids: Collection[str]) -> None:
        """The kubelet has just given these to a container."""
        now_s = self._clock.monotonic_s()
        self._allocated_s.update(dict.fromkeys(uuids, now_s))
        self._mark_busy()

    async def refresh(self) -> None:
        """Ask the kubelet; while it does not answer, what was held stays held.

        What it has listed once is held for as long as it lists it.
        """
        try:
            response = await rpc.list_pod_resources(self._socket)
        except grpc.RpcError as error:
            if not self._silent:
                log.warning("the kubelet does not say who holds what: %s", rpc.describe(error))
            self._silent = True
            return
        self._silent = False
        self.holders = read_holders(response)
        for holder in self.holders:
            for uuid in holder.uuids:
                self._allocated_s.pop(uuid, None)
        self._mark_busy()

    def holder_of(self, uuid: str) -> Holder | None:
        """The container that holds this device."""
        return next((holder for holder in self.holders if uuid in holder.uuids), None)

    def _mark_busy(self) -> None:
        oldest_s = self._clock.monotonic_s() - GRACE_S
        self._allocated_s = {uuid: at_s for uuid, at_s in self._allocated_s.items() if at_s > oldest_s}
        held = {uuid for holder in self.holders for uuid in holder.uuids}
        self._stock.set_busy(held | self._allocated_s.keys())


def read_holders(response: pb.ListPodResourcesResponse) -> tuple[Holder, ...]:
    """Containers that hold NVIDIA devices."""
    found = []
    for pod in response.pod_resources:
        for container in pod.containers:
            uuids = tuple(
                uuid
                for held in container.devices
                if held.resource_name.startswith("nvidia.com/")
                for uuid in held.device_ids
            )
            if uuids:
                found.append(Holder(pod.namespace, pod.name, container.name, uuids))
    return tuple(found)
