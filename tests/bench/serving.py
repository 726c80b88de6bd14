"""Requests that fail while a service changes, and the time to its first answer. `make bench-serving`."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from gpufleet_sandbox import binaries, charts, inference, kubectl, local
from tests.bench import report
from tests.e2e.fleet import load, manifests, services

NAMESPACE = "bench"
MODEL = "doubler"
SECONDS = 60
ALL_REQUESTS = 20_000
LATENCY_GOAL_S = 2.0


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
    sandbox = local.LocalProvider(f"bench-{os.getpid()}", node_count=2)
    try:
        sandbox.up()
        client = kubectl.Kubectl(binaries.ensure("kubectl"), sandbox.kubeconfig())
        charts.install(binaries.ensure("helm"), client.kubeconfig, charts.SANDBOX_VALUES)
        node = client.get("nodes", "-l", "nvidia.com/mig.capable=true")["items"][0]["metadata"]["name"]
        client.run("label", "node", node, "nvidia.com/mig.config=demo", "--overwrite")
        slices = "nvidia.com/mig-1g.10gb"
        kubectl.wait_until(
            "slices",
            lambda: int(client.get("node", node)["status"]["allocatable"].get(slices, "0")) > 0,
            timeout_s=120,
        )
        client.run("create", "namespace", NAMESPACE)
        yield client
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


def measure_start(client: kubectl.Kubectl) -> tuple[float, float]:
    """(seconds from apply to the first answer, seconds of it that Triton took to start and to load)."""
    started_s = time.monotonic()
    services.apply(client, manifests.service(NAMESPACE, services.NAME, [MODEL], replicas=1))
    kubectl.wait_until(
        "a ready pod",
        lambda: any(map(services.is_ready, services.pods(client, NAMESPACE))),
        timeout_s=120,
        every_s=0.1,
    )
    pod = services.pods(client, NAMESPACE)[0]["metadata"]["name"]
    with inference.forward(client, NAMESPACE, f"pod/{pod}", 8000) as address:
        inference.infer(address, MODEL, "X", [1.0, 2.0, 3.0, 4.0])
    took_s = time.monotonic() - started_s
    return took_s, _read_own_time_s(client, pod)


def _read_own_time_s(client: kubectl.Kubectl, pod: str) -> float:
    """From the start of Triton's container to the end of its loads, by its own log."""
    lines = client.run("logs", "-n", NAMESPACE, pod, "-c", "triton", "--timestamps").splitlines()
    loaded = [line for line in lines if f"successfully loaded '{MODEL}'" in line]
    return _seconds_of_day(loaded[-1]) - _seconds_of_day(lines[0])


def _seconds_of_day(line: str) -> float:
    hours, minutes, seconds = line.split("T")[1].split("Z")[0].split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def main() -> None:
    with cluster() as client:
        took_s, own_s = measure_start(client)
        apply(client)
        results = {change.name: measure_change(client, change) for change in CHANGES}
    rows = [
        report.Row(f"failed: {name}", one["failed"], f"of {one['sent']}", 0) for name, one in results.items()
    ]
    missing = max(0, ALL_REQUESTS - sum(one["sent"] for one in results.values()))
    rows += [
        report.Row("requests short of 20,000", missing, "requests", 0),
        report.Row("apply to first answer", took_s, "s", baseline=own_s),
        report.Row("of it beyond Triton's start and load", took_s - own_s, "s", LATENCY_GOAL_S),
    ]
    report.finish("Serving while everything changes", rows)


if __name__ == "__main__":
    main()
