"""Stands in for a node agent where none runs: publishes devices from the simulator's file and metrics."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from typing import Any

from gpufleet.state import names
from gpufleet_sandbox import kubectl, provider

STATE = "/var/lib/kubelet/plugins/gpufleet-simgpu/gpus.json"
SAMPLE = re.compile(r"^DCGM_FI_PROF_GR_ENGINE_ACTIVE\{(.*)\} ", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')
EVERY_S = 2.0


@contextlib.contextmanager
def publishing(nodes: provider.Provider, client: kubectl.Kubectl, node: str) -> Iterator[None]:
    """Publishes again and again while the body runs; nothing where an agent of the chart does."""
    agents = client.get("daemonsets", "-n", "gpufleet-system")["items"]
    if any(one["metadata"]["name"] == "gpufleet-node-agent" for one in agents):
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_publish_until, args=(over, nodes, client, node), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _publish_until(
    over: threading.Event, nodes: provider.Provider, client: kubectl.Kubectl, node: str
) -> None:
    while not over.wait(EVERY_S):
        with contextlib.suppress(kubectl.KubectlError, provider.NodeError, ValueError):
            text = json.dumps(_read(nodes, client, node))
            client.run("annotate", "node", node, "--overwrite", f"{names.DEVICES_ANNOTATION}={text}")


def _read(nodes: provider.Provider, client: kubectl.Kubectl, node: str) -> dict[str, Any]:
    """The token first: what is read afterwards answers it."""
    shown = client.get("node", node)
    token = shown["metadata"].get("annotations", {}).get(names.DEVICES_REQUESTED_ANNOTATION, "")
    state = json.loads(nodes.exec_on_node(node, ["cat", STATE]))
    held = _read_holders(client, node)
    gpus = [
        {
            "index": index,
            "uuid": gpu["uuid"],
            "mig": gpu["migEnabled"],
            "pod": held.get((str(index), ""), ""),
            "instances": [
                {
                    "uuid": one["uuid"],
                    "profile": one["profile"],
                    "start": one["start"],
                    "pod": held.get((str(index), str(one["giId"])), ""),
                }
                for one in gpu["instances"]
            ],
        }
        for index, gpu in enumerate(state["gpus"])
    ]
    return {"bootID": shown["status"]["nodeInfo"]["bootID"], "gpus": gpus, "token": token}


def _read_holders(client: kubectl.Kubectl, node: str) -> dict[tuple[str, str], str]:
    """namespace/name/ by (GPU, id of the instance), as DCGM's metrics have them."""
    pods = client.get("pods", "-n", "gpufleet-system", "-l", "app.kubernetes.io/component=simgpu")["items"]
    [exporter] = [one["metadata"]["name"] for one in pods if one["spec"].get("nodeName") == node]
    url = f"/api/v1/namespaces/gpufleet-system/pods/{exporter}:9400/proxy/metrics"
    found = {}
    for text in SAMPLE.findall(client.run("get", "--raw", url)):
        sample = dict(LABEL.findall(text))
        if sample.get("pod"):
            found[sample["gpu"], sample.get("GPU_I_ID", "")] = f"{sample['namespace']}/{sample['pod']}/"
    return found
