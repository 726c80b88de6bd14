"""Scaling up while clients keep their gRPC channels open."""

from __future__ import annotations

import re

import pytest

from gpufleet_sandbox import kubectl
from tests.e2e.fleet import load, services

COUNT = re.compile(r'^nv_inference_count{model="doubler",version="1"} (\d+)', re.MULTILINE)


def count(fleet: kubectl.Kubectl, namespace: str, pod: str) -> int:
    """Inferences that this pod's Triton has made."""
    shown = fleet.run("get", "--raw", f"/api/v1/namespaces/{namespace}/pods/{pod}:8002/proxy/metrics")
    found = COUNT.search(shown)
    return int(found[1]) if found else 0


@pytest.mark.alone
def test_new_servers_get_their_share_of_open_channels(fleet: kubectl.Kubectl, serving: str) -> None:
    load.start(fleet, serving, "doubler", 75, "--concurrency=16")
    fleet.run("scale", "-n", serving, f"tsvc/{services.NAME}", "--replicas=4")
    found = load.result(fleet, serving)
    assert (found["failed"], found["errors"]) == (0, {})
    shares = [
        count(fleet, serving, pod["metadata"]["name"]) / found["sent"]
        for pod in services.pods(fleet, serving)
    ]
    assert len(shares) == 4
    assert min(shares) > 0.02, shares
