"""The agent's loop: look at the Node, the kubelet and the GPUs, and write the annotation when it differs."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NoReturn

import grpc
from prometheus_client import core, registry

from gpufleet import kube
from gpufleet.agents.node import hardware, holders, report, settings
from gpufleet.kubelet import podresources_pb2 as pb
from gpufleet.kubelet import rpc
from gpufleet.state import names

log = logging.getLogger(__name__)

FIELD_MANAGER = "gpufleet-node-agent"
_CHANGING = frozenset({"pending", "rebooting"})
_JITTER = 0.1
ReadGpus = Callable[[hardware.Offered], Awaitable[hardware.Gpus]]


class UnsettledError(Exception):
    """The kubelet has just started and may not know its pods yet."""


class Agent(registry.Collector):
    """One node's agent. `problem` is why the last look came to nothing; None when it did not."""

    def __init__(
        self, client: kube.Client, config: settings.Settings, boot_id: str, read_gpus: ReadGpus
    ) -> None:
        self._client = client
        self._path = kube.path("v1", "Node", name=config.node_name)
        self._socket = config.pod_resources_socket
        self._own_pod = config.own_pod
        self._in_doubt = False
        self._boot_id = boot_id
        self._read_gpus = read_gpus
        self._gpus: hardware.Gpus | None = None
        self._seen: object = None
        self.problem: str | None = "has not looked yet"
        self.looks = {"done": 0, "failed": 0}
        self.writes = 0
        self.held = 0

    async def run(self, poll_s: float) -> NoReturn:
        """Looks for ever; agents of many nodes drift apart."""
        while True:
            await self.look()
            await asyncio.sleep(poll_s * random.uniform(1 - _JITTER, 1 + _JITTER))

    async def look(self) -> None:
        """One look. Whatever cannot be reached is tried again at the next, and what was written stays."""
        try:
            await self._look()
        except grpc.RpcError as error:
            self._in_doubt = True
            self._note(f"the kubelet's PodResources: {rpc.describe(error)}")
        except UnsettledError as error:
            self._note(str(error))
        except kube.ApiError as error:
            self._note(f"the Node: {error}")
        except hardware.HardwareError as error:
            self._note(f"the GPUs: {error}")
        else:
            self._note(None)

    async def _look(self) -> None:
        # The request is read before the kubelet is, or its answer could be older than the question. From the
        # server's cache, as kubelets read their Node: thousands of agents must not each ask etcd.
        node = await self._client.get(self._path, metadata_only=True, resourceVersion="0")
        listed = await rpc.list_pod_resources(self._socket)
        self._require_settled(listed)
        held = holders.read_held(listed)
        offered = holders.read_offered(await rpc.get_allocatable(self._socket))
        self.held = len(held)
        annotations: dict[str, str] = node["metadata"].get("annotations") or {}
        token = annotations.get(names.DEVICES_REQUESTED_ANNOTATION, "")
        written = annotations.get(names.DEVICES_ANNOTATION)
        state = (node["metadata"].get("labels") or {}).get(names.MIG_STATE_LABEL, "")
        await self._refresh((held, offered, token, state), offered, token == report.read_token(written or ""))
        if self._gpus is None or (not self._gpus and not held and not token and written is None):
            return
        text = report.render(self._boot_id, self._gpus, held, token)
        if text != written:
            patch = {"metadata": {"annotations": {names.DEVICES_ANNOTATION: text}}}
            await self._client.merge_patch(self._path, patch, manager=FIELD_MANAGER)
            self.writes += 1

    def _require_settled(self, listed: pb.ListPodResourcesResponse) -> None:
        """A kubelet that starts lists no pods until the API server has named them, then all within moments.

        So it is believed at the look after the first that has our own pod, which also comes from there.
        """
        is_listed = not self._own_pod or holders.lists(listed, self._own_pod)
        was_in_doubt, self._in_doubt = self._in_doubt, not is_listed
        if not is_listed:
            raise UnsettledError(f"the kubelet does not list {self._own_pod}: it has just started")
        if was_in_doubt:
            raise UnsettledError("the kubelet has just started")

    async def _refresh(
        self, seen: tuple[Any, Any, str, str], offered: hardware.Offered, is_answered: bool
    ) -> None:
        """Reads the GPUs when something points to a change; while they are being cut, only when asked."""
        if seen == self._seen or (seen[3] in _CHANGING and is_answered):
            return
        self._gpus = await self._read_gpus(offered)
        self._seen = seen

    def _note(self, problem: str | None) -> None:
        self.looks["failed" if problem else "done"] += 1
        if problem and problem != self.problem:
            log.warning("%s", problem)
        self.problem = problem

    def collect(self) -> Iterable[core.Metric]:
        looks = core.CounterMetricFamily("gpufleet_node_agent_looks", "Looks by result.", labels=["result"])
        for result, count in sorted(self.looks.items()):
            looks.add_metric([result], count)
        yield looks
        yield core.CounterMetricFamily(
            "gpufleet_node_agent_writes", "Writes of the annotation.", value=self.writes
        )
        yield core.GaugeMetricFamily(
            "gpufleet_node_agent_held_devices", "GPUs and slices that pods hold.", value=self.held
        )
