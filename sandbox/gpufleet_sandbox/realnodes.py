"""Real nodes as the provider sees them: images first, all nodes at once, then what every cluster runs."""

from __future__ import annotations

import concurrent.futures
import pathlib
import subprocess
from collections.abc import Sequence
from typing import Any

import yaml

from gpufleet_sandbox import addons, images, kwok, progress, state
from gpufleet_sandbox.node import local_node

# What the cluster itself runs, and what people and tests run on it.
SYSTEM_IMAGES = ("pause", "coredns")
IMAGES = (*SYSTEM_IMAGES, "gpufleet", "triton", "trainer")
_READY_TIMEOUT_S = 120.0


def ensure_images(names: Sequence[str], reporter: progress.Reporter) -> list[pathlib.Path]:
    """The docker-archives of these images; built into the cache where they are not there."""
    with reporter.step("images", quiet_below_s=1.0):
        return list(images.ensure(names, reporter).values())


def up(record: state.Record, archives: Sequence[pathlib.Path], reporter: progress.Reporter) -> None:
    """Returns when every node is Ready, reaches Services, and what the cluster itself runs is applied."""
    nodes = [open_node(record, number + 1, archives) for number in range(record.nodes)]
    everywhere = concurrent.futures.ThreadPoolExecutor(len(nodes))
    with reporter.step(f"{record.nodes} nodes"), everywhere as pool:
        list(pool.map(lambda node: node.up(), nodes))
        kwok.wait_ready(record.instance.kubeconfig, {node.name for node in nodes}, _READY_TIMEOUT_S)
        list(pool.map(lambda node: node.wait_for_services(), nodes))
    with reporter.step("cluster DNS and volumes"):
        apply(record, yaml.safe_dump_all(_build_addons(record)))


def down(record: state.Record) -> None:
    """Takes every node down that may exist."""
    nodes = [open_node(record, number + 1) for number in range(record.nodes)]
    with concurrent.futures.ThreadPoolExecutor(len(nodes)) as pool:
        list(pool.map(lambda node: node.down(), nodes))


def open_node(
    record: state.Record, ordinal: int, archives: Sequence[pathlib.Path] = ()
) -> local_node.LocalNode:
    programs = {name: pathlib.Path(path) for name, path in record.programs.items()}
    labels = {"gpufleet.dev/sandbox": record.name}
    return local_node.LocalNode(record.instance, ordinal, record.server, programs, archives, labels)


def apply(record: state.Record, manifests: str) -> None:
    """Server-side apply of YAML documents. Raises state.StateError with kubectl's words."""
    command = [record.programs["kubectl"], "--kubeconfig", str(record.instance.kubeconfig), "apply"]
    command += ["--server-side", "--force-conflicts", "--field-manager=gpufleet-sandbox", "-f", "-"]
    result = subprocess.run(command, input=manifests, capture_output=True, text=True, check=False)
    if result.returncode:
        raise state.StateError(f"kubectl apply: {result.stderr.strip()}")


def _build_addons(record: state.Record) -> list[dict[str, Any]]:
    named = addons.build_prometheus(record.address, record.ports["prometheus"])
    return [*addons.manifests(record.instance), *named]
