"""Requests that fail while a service changes. `make bench-serving`."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gpufleet_sandbox import binaries, charts, kubectl, local
from tests.bench import report
from tests.e2e.fleet import load, manifests, services

NAMESPACE = "bench"
MODEL = "doubler"
SECONDS = 60
ALL_REQUESTS = 20_000


@dataclasses.dataclass(frozen=True)
class Change:
    """Something done to the running service under a load with these further `options`."""

    name: str
    act: Callable[[kubectl.Kubectl], None]
    options: tuple[str, ...] = ()


def apply(client: kubectl.Kubectl, *models: str | dict[str, Any], **spec: Any) -> None:
    wanted = {"replicas": 2, **spec}
    services.apply(client, manifests.service(NAMESPACE, services.NAME, models or [MODEL], **wanted))


def wait_settled(client: kubectl.Kubectl) -> None:
    """Until the operator has seen the last change and nothing moves any more."""
    name = f"tsvc/{services.NAME}"

    def is_settled() -> bool:
        read = client.get(name, "-n", NAMESPACE)
        status = read.get("status", {})
        conditions = {one["type"]: one["status"] for one in status.get("conditions", [])}
        is_seen = status.get("observedGeneration") == read["metadata"]["generation"]
        is_well = (conditions.get("Ready"), conditions.get("Reconciling")) == ("True", "False")
        ready = [pod for pod in services.pods(client, NAMESPACE) if services.is_ready(pod)]
        return is_seen and is_well and len(ready) == read["spec"]["replicas"]

    kubectl.wait_until("the service at rest", is_settled, timeout_s=240)


def kill_pod(client: kubectl.Kubectl) -> None:
    pod = services.pods(client, NAMESPACE)[0]["metadata"]["name"]
    client.run("delete", "pod", "-n", NAMESPACE, pod, "--grace-period=0", "--force")


def restart_operator(client: kubectl.Kubectl) -> None:
    client.run("rollout", "restart", "-n", charts.NAMESPACE, "deployment/gpufleet")
    client.run("rollout", "status", "-n", charts.NAMESPACE, "deployment/gpufleet", "--timeout=120s")


CHANGES = (
    Change("a model is edited", lambda client: apply(client, manifests.model(MODEL, maxBatchSize=4))),
    Change("a model is added", lambda client: apply(client, MODEL, "second")),
    Change("a model is removed", lambda client: apply(client, MODEL)),
    Change("a rollout", lambda client: apply(client, template={"env": [{"name": "A", "value": "1"}]})),
    Change("the operator restarts", restart_operator),
    Change("a server more", lambda client: apply(client, replicas=3)),
    Change("a server fewer", lambda client: apply(client, replicas=2)),
    Change("a pod is killed, one retry", kill_pod, ("--retries=1", "--wait-for-ready")),
)


@contextlib.contextmanager
def cluster() -> Iterator[kubectl.Kubectl]:
    """kubectl for two real nodes with the chart installed."""
    with provided() as (_, client):
        yield client


@contextlib.contextmanager
def provided(
    values: Mapping[str, str] = charts.SANDBOX_VALUES,
) -> Iterator[tuple[local.LocalProvider, kubectl.Kubectl]]:
    """The same with these values of the chart, and what is behind it."""
    sandbox = local.LocalProvider(f"bench-{os.getpid()}", node_count=2)
    try:
        sandbox.up()
        client = kubectl.Kubectl(binaries.ensure("kubectl"), sandbox.kubeconfig())
        charts.install(binaries.ensure("helm"), client.kubeconfig, values)
        node = client.get("nodes", "-l", "nvidia.com/mig.capable=true")["items"][0]["metadata"]["name"]
        client.run("label", "node", node, "nvidia.com/mig.config=demo", "--overwrite")
        slices = "nvidia.com/mig-1g.10gb"
        kubectl.wait_until(
            "slices",
            lambda: int(client.get("node", node)["status"]["allocatable"].get(slices, "0")) > 0,
            timeout_s=120,
        )
        client.run("create", "namespace", NAMESPACE)
        yield sandbox, client
    finally:
        sandbox.down()


def measure_change(client: kubectl.Kubectl, change: Change) -> dict[str, Any]:
    """The load's result while the change was made and came to rest."""
    print(f"… {change.name}", flush=True)
    wait_settled(client)
    load.start(client, NAMESPACE, MODEL, SECONDS, "--concurrency=4", *change.options)
    change.act(client)
    wait_settled(client)
    found = load.result(client, NAMESPACE)
    client.run("delete", "pod", "-n", NAMESPACE, load.CALLER, "--wait=true")
    print(f"  {found}", flush=True)
    return found


def main() -> None:
    with cluster() as client:
        apply(client)
        results = {change.name: measure_change(client, change) for change in CHANGES}
    rows = [
        report.Row(f"failed: {name}", one["failed"], f"of {one['sent']}", 0) for name, one in results.items()
    ]
    missing = max(0, ALL_REQUESTS - sum(one["sent"] for one in results.values()))
    rows.append(report.Row("requests short of 20,000", missing, "requests", 0))
    report.finish("Serving while everything changes", rows)


if __name__ == "__main__":
    main()
