"""The operator dies before and after each of its writes; the end is the same as if it had not."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import uuid
from typing import Any

import pytest

from gpufleet_sandbox import kubectl
from tests import access
from tests.integration.conftest import Cluster
from tests.integration.faults import proxy, scenarios
from tests.integration.operator import process


@dataclasses.dataclass(frozen=True)
class Run:
    """What the operator wrote, what the cluster showed at the end, and whether the kill came about."""

    writes: list[proxy.Write]
    end: list[dict[str, Any]]
    was_killed: bool


FAST_LEASE = {"GPUFLEET_LEASE_DURATION_S": "2", "GPUFLEET_LEASE_RENEW_S": "0.5"}


@pytest.fixture(scope="module")
def server(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> proxy.Proxy:
    """What a proxy needs to speak for the operator."""
    client = kubectl.Kubectl(cluster.kubectl_path, cluster.kubeconfig)
    access.install_chart(client)
    admin = access.read_admin(cluster.kubeconfig)
    return proxy.Proxy(
        admin["server"], access.write_ca(admin, tmp_path_factory.mktemp("ca")), access.make_token(client)
    )


def run_once(
    cluster: Cluster,
    server: proxy.Proxy,
    scenario: scenarios.Scenario,
    folder: pathlib.Path,
    kill_at: int = 0,
    when: str = "",
) -> Run:
    """One run in a namespace of its own; the operator that is killed gets a successor."""
    namespace = f"k-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", namespace)
    journalled = proxy.Proxy(server.server, server.ca_file, server.token)
    with journalled.running():
        config = journalled.write_kubeconfig(folder / f"{namespace}.kubeconfig")
        operator = process.Operator(config, folder / f"{namespace}.log", env=FAST_LEASE)

        def strike(number: int) -> bool:
            if number != kill_at:
                return True
            operator.kill()
            return False

        if when:
            setattr(journalled, when, strike)
        operator.start()
        try:
            for manifest in scenario.manifests(namespace):
                cluster.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(manifest))
            if when:
                over = functools.partial(_is_over, operator, scenario, cluster, namespace)
                process.wait_for("the kill, or the end without it", over, 90)
            was_killed = not operator.is_running
            if was_killed:
                operator.start()
            end = scenarios.play(scenario, cluster, namespace)
        finally:
            operator.terminate()
            cluster.kubectl("delete", "namespace", namespace, "--wait=false")
    return Run(journalled.journal, end, was_killed)


def _is_over(
    operator: process.Operator, scenario: scenarios.Scenario, cluster: Cluster, namespace: str
) -> bool:
    """Whether the operator is dead; until then the flow goes on, or later writes would never come.

    News that comes together is one write: a run may end with one write less than another, and unharmed.
    """
    scenario.drive(cluster, namespace)
    return not operator.is_running or scenario.has_ended(cluster, namespace)


@pytest.mark.parametrize("scenario", scenarios.SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_kill_point_leads_to_the_same_end(
    cluster: Cluster, server: proxy.Proxy, scenario: scenarios.Scenario, tmp_path: pathlib.Path
) -> None:
    clean = run_once(cluster, server, scenario, tmp_path)
    assert len(clean.writes) >= 5, "a journal this short cannot be the whole flow"
    different = []
    kills = 0
    for number, write in enumerate(clean.writes, start=1):
        for when in ("before", "after"):
            struck = run_once(cluster, server, scenario, tmp_path, number, when)
            kills += struck.was_killed
            if struck.end != clean.end:
                different.append((when, write, struck.end))
    print(f"{scenario.name}: killed at {kills} of {2 * len(clean.writes)} points")
    assert not different
    assert kills >= len(clean.writes), "most runs should not end before their kill"
