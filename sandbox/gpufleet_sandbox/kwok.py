"""Simulated nodes: KWOK plays kubelet for nodes that carry GPUs on paper.

Pods get addresses from 240.0.0.0/4, which no network carries: nobody may dial them.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import itertools
import pathlib
import time
from collections.abc import Iterable, Mapping
from typing import Any

from gpufleet_sandbox import apiclient, instance, processes, state

SELECTOR = "kwok.x-k8s.io/node=fake"
STAGES = pathlib.Path(__file__).with_name("kwok_stages.yaml")
_CLIENTS = 8
_NAME_PREFIX = "kwok-"
_GPU_RESOURCES = {"nvidia.com/gpu": "8"}
# As NVIDIA's GPU feature discovery labels such a node.
_GPU_LABELS = {
    "nvidia.com/gpu.present": "true",
    "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
    "nvidia.com/gpu.count": "8",
    "nvidia.com/gpu.memory": "81559",
    "nvidia.com/gpu.family": "hopper",
    "nvidia.com/mig.capable": "true",
    "nvidia.com/mig.strategy": "mixed",
}


@dataclasses.dataclass(frozen=True)
class NodeShape:
    """What every simulated node offers, beside its pods."""

    cpu: str = "128"
    memory: str = "2Ti"
    resources: Mapping[str, str] = dataclasses.field(default_factory=lambda: dict(_GPU_RESOURCES))
    labels: Mapping[str, str] = dataclasses.field(default_factory=lambda: dict(_GPU_LABELS))
    # Where real nodes exist too, this keeps their pods off: only what tolerates it comes here.
    is_tainted: bool = False


def build_argv(record: state.Record) -> list[str]:
    """Arguments of the kwok process; it renews every node's lease four times in its duration."""
    sandbox = record.instance
    return [
        f"--kubeconfig={sandbox.directory / 'kwok.kubeconfig'}",
        f"--config={STAGES}",
        f"--manage-nodes-with-annotation-selector={SELECTOR}",
        f"--cidr=240.{sandbox.index}.0.1/16",
        "--node-ip=127.0.0.1",
        f"--node-lease-duration-seconds={40 if record.nodes else 400}",
    ]


def build_node(name: str, shape: NodeShape) -> dict[str, Any]:
    """A Node with its capacity, as kubelet would register it."""
    resources = {"cpu": shape.cpu, "memory": shape.memory, "pods": "256", "ephemeral-storage": "1Ti"}
    resources |= shape.resources
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "type": "kwok",
        **shape.labels,
    }
    key, _, value = SELECTOR.partition("=")
    taints = [{"key": key, "value": value, "effect": "NoSchedule"}] if shape.is_tainted else []
    addresses = [{"type": "InternalIP", "address": state.LOOPBACK}, {"type": "Hostname", "address": name}]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {key: value}},
        "spec": {"taints": taints},
        "status": {"capacity": resources, "allocatable": resources, "addresses": addresses},
    }


def node_name(ordinal: int) -> str:
    """Simulated nodes count from 1."""
    return f"{_NAME_PREFIX}{ordinal:04d}"


def is_simulated(node: str) -> bool:
    return node.startswith(_NAME_PREFIX)


def up(record: state.Record, shape: NodeShape) -> None:
    """Starts KWOK and creates the nodes that are missing; returns before they are Ready."""
    sandbox = record.instance
    processes.start("kwok", [record.programs["kwok"], *build_argv(record)], sandbox.directory)
    names = (node_name(number + 1) for number in range(record.kwok))
    create_nodes(sandbox.kubeconfig, (build_node(name, shape) for name in names))


def create_nodes(kubeconfig: pathlib.Path, nodes: Iterable[dict[str, Any]]) -> None:
    """Creates nodes over several connections; those that exist stay as they are."""
    wanted = list(nodes)
    shares = [share for start in range(_CLIENTS) if (share := wanted[start::_CLIENTS])]
    with concurrent.futures.ThreadPoolExecutor(_CLIENTS) as pool:
        list(pool.map(_create_share, itertools.repeat(kubeconfig), shares))


def wait_ready(kubeconfig: pathlib.Path, names: set[str], timeout_s: float) -> None:
    """Returns when every named node is Ready; raises TimeoutError naming some that are not."""
    deadline = time.monotonic() + timeout_s
    with apiclient.ApiClient(kubeconfig) as client:
        while late := names - read_ready_nodes(client):
            if time.monotonic() > deadline:
                some = ", ".join(sorted(late)[:5])
                raise TimeoutError(
                    f"{len(late)} of {len(names)} nodes not Ready after {timeout_s:.0f} s: {some}"
                )
            # Listing thousands of nodes is work that the nodes' own updates would wait for.
            time.sleep(0.2 + len(names) * 0.002)


def read_ready_nodes(client: apiclient.ApiClient) -> set[str]:
    # resourceVersion=0 is answered from the API server's cache.
    nodes = client.get("/api/v1/nodes?resourceVersion=0")["items"]
    return {node["metadata"]["name"] for node in nodes if _is_ready(node)}


def down(sandbox: instance.Instance) -> None:
    if process := processes.load("kwok", sandbox.directory):
        process.stop(timeout_s=3.0)


def _is_ready(node: dict[str, Any]) -> bool:
    conditions = node["status"].get("conditions") or []
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


def _create_share(kubeconfig: pathlib.Path, nodes: list[dict[str, Any]]) -> None:
    with apiclient.ApiClient(kubeconfig, timeout_s=30.0) as client:
        for node in nodes:
            try:
                client.request("POST", "/api/v1/nodes", node)
            except apiclient.ApiError as error:
                if error.status != 409:
                    raise
