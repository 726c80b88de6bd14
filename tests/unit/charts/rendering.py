"""The chart as the real Helm renders it, read back as objects."""

from __future__ import annotations

import functools
import json
import pathlib
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from gpufleet_sandbox import binaries

CHART = pathlib.Path(__file__).parents[3] / "charts" / "gpufleet"
NAMESPACE = "gpufleet-system"
SIMGPU = "simgpu.enabled=true"
RULES = "prometheusRule.enabled=true"
NODE_AGENT = "nodeAgent.enabled=true"
BOARDS = "dashboards.enabled=true"
MONITORING = ("podMonitor.enabled=true", RULES, BOARDS)
EVERYTHING = (SIMGPU, NODE_AGENT, *MONITORING, "networkPolicy.enabled=true", "replicas=2")

Object = dict[str, Any]


def helm(*args: str) -> subprocess.CompletedProcess[str]:
    argv = [str(binaries.ensure("helm")), *args]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def template(*values: str, flags: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """`helm template`, whatever its exit status; values as `path=JSON`, else as `path=text`."""
    return helm("template", "gpufleet", str(CHART), "--namespace", NAMESPACE, *flags, *_flags(values))


def notes(*values: str) -> str:
    """What an install without a cluster would print."""
    result = helm(
        "install", "gpufleet", str(CHART), "--namespace", NAMESPACE, "--dry-run=client", *_flags(values)
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.partition("\nNOTES:\n")[2]


def _flags(values: Sequence[str]) -> list[str]:
    return [flag for value in values for flag in (_flag(value), value)]


def _flag(value: str) -> str:
    text = value.partition("=")[2]
    if text[:1] not in '[{"':
        return "--set"
    json.loads(text)
    return "--set-json"


@functools.cache
def render(*values: str) -> tuple[Object, ...]:
    result = template(*values)
    assert result.returncode == 0, result.stderr
    return tuple(one for one in yaml.safe_load_all(result.stdout) if one)


def of_kind(kind: str, *values: str) -> list[Object]:
    return [one for one in render(*values) if one["kind"] == kind]


def find(kind: str, name: str, *values: str) -> Object:
    [found] = [one for one in of_kind(kind, *values) if one["metadata"]["name"] == name]
    return found


def pod_of(workload: Object) -> Object:
    """The pod template of a Deployment or DaemonSet."""
    template: Object = workload["spec"]["template"]
    return template


def workloads(*values: str) -> list[Object]:
    return [*of_kind("Deployment", *values), *of_kind("DaemonSet", *values)]


def operator_pod(*values: str) -> Object:
    return pod_of(find("Deployment", "gpufleet", *values))


def simgpu_pod(*values: str) -> Object:
    return pod_of(find("DaemonSet", "gpufleet-simgpu", SIMGPU, *values))


def node_agent_pod(*values: str) -> Object:
    return pod_of(find("DaemonSet", "gpufleet-node-agent", NODE_AGENT, *values))


def environment(pod: Object) -> dict[str, str | None]:
    """The variables of the only container; None for what Kubernetes fills in."""
    [container] = pod["spec"]["containers"]
    return {one["name"]: one.get("value") for one in container["env"]}


def rules(*values: str) -> Iterator[Object]:
    """Every RBAC rule, with the name of its role under `role`."""
    for role in (*of_kind("Role", *values), *of_kind("ClusterRole", *values)):
        for rule in role["rules"]:
            yield {**rule, "role": role["metadata"]["name"]}
