"""gpufleet's autoscaler against HPA and KEDA on the real Triton. `make bench-autoscaling-real`.

Six services stand side by side, each in a namespace of its own and each with the same requests, a little
later than its neighbour so that not all start servers at once. All time is short: scrapes, rates, windows
and loads pass `SPEED` times as fast as by default, as a start does that takes eight seconds and not a
minute. What gpufleet learns from hours (trend, season, its own margin and window) has no time to work here;
the share of capacity that is kept free is swept instead.

With names of loads as arguments only those are run.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
import os
import pathlib
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import psutil
import yaml

from gpufleet.sim import loads
from gpufleet.sim import service as simulated
from gpufleet_sandbox import apiclient, charts, kubectl, local, processes, prometheus, state
from tests.bench import frontier, report, serving
from tests.bench.autoscalers import hpa, keda
from tests.bench.real import callers, fleet, judging
from tests.e2e.fleet import manifests, services

SPEED = 7.5
SCRAPE_S = 2
WINDOW = "8s"
DOWN_WINDOW_S = 40
OBJECTIVE_S = 2.0
MODEL = "timed-slowly"
# In the proportion to its objective that the simulator's model has; asleep, for two cores are few.
CODE = manifests.TIMED.replace("0.02 + 0.005", "0.2 + 0.08")
QUEUE = 64
MAX_SERVERS = 4
OBJECTIVE = {"objective": {"latency": {"percentile": "P99", "targetMilliseconds": round(1000 * OBJECTIVE_S)}}}
LOW, PEAK = 3.0, 21.0
"""Requests per second; a server carries about seven in time."""
WARM_UP_S = 50.0
PROFILE_LIMIT_S = 240.0
APART_S = 13.0
FEW = 0.05
GOAL_PERCENT = 5.0
MOST_BUSY_PERCENT = 85.0
SLICE = "nvidia.com/mig-1g.10gb"
OURS = "gpufleet"

LOADS: Mapping[str, Callable[[], loads.Load]] = {
    "ramp": lambda: loads.ramp(LOW, PEAK, 360),
    "on/off": lambda: loads.on_off(LOW, PEAK, 400, period_s=160),
}


@dataclasses.dataclass(frozen=True)
class Contestant:
    """One autoscaler with one value of its target; without `make` it is the operator's own."""

    name: str
    target: float
    unit: str
    make: Callable[[float, int, int], simulated.Policy] | None = None


CONTESTANTS = (
    Contestant(OURS, 10, "% kept free"),
    Contestant("HPA", 80, "ms in queue", hpa.QueueTimeHpa),
    Contestant("KEDA", 4.5, "requests/s per server", keda.Keda),
    Contestant(OURS, 25, "% kept free"),
    Contestant("HPA", 200, "ms in queue", hpa.QueueTimeHpa),
    Contestant("KEDA", 5.5, "requests/s per server", keda.Keda),
)


@dataclasses.dataclass
class Station:
    """A contestant's service and its caller."""

    contestant: Contestant
    followed: fleet.Followed
    caller: callers.Caller
    begin_s: float = 0.0


def hasten_prometheus(record: state.Record) -> None:
    """Scrapes more often than the sandbox's do, from the next scrape on."""
    path = record.instance.directory / "prometheus.yaml"
    config = yaml.safe_load(path.read_text())
    wait_s = f"{SCRAPE_S}s"
    config["global"] = {"scrape_interval": wait_s, "scrape_timeout": wait_s, "evaluation_interval": wait_s}
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    running = processes.load("prometheus", record.instance.directory)
    assert running is not None
    os.kill(running.pid, signal.SIGHUP)


def cut(client: kubectl.Kubectl) -> None:
    """All GPUs of both nodes into slices, which six times the most servers fit into."""
    nodes = [
        one["metadata"]["name"] for one in client.get("nodes", "-l", "nvidia.com/mig.capable=true")["items"]
    ]
    for node in nodes:
        client.run("label", "node", node, "nvidia.com/mig.config=all-1g.10gb", "--overwrite")

    def count() -> int:
        return sum(int(client.get("node", node)["status"]["allocatable"].get(SLICE, "0")) for node in nodes)

    kubectl.wait_until("slices", lambda: count() >= MAX_SERVERS * len(CONTESTANTS), timeout_s=180)


def deploy(client: kubectl.Kubectl, number: int, one: Contestant) -> Station:
    """The service with one server, whoever is to scale it later."""
    namespace = f"bench-{number}"
    client.run("create", "namespace", namespace)
    spec: dict[str, Any] = {"replicas": 1, "autoscaling": {"mode": "Off", "maxReplicas": MAX_SERVERS}}
    apply(client, namespace, **spec, **(OBJECTIVE if one.make is None else {}))
    policy = one.make(one.target, 1, MAX_SERVERS) if one.make else None
    followed = fleet.Followed(namespace, policy)
    caller = callers.Caller(MODEL, 10 * OBJECTIVE_S, lambda: followed.ready)
    return Station(one, followed, caller)


def apply(client: kubectl.Kubectl, namespace: str, **spec: Any) -> None:
    manifests.CODE[MODEL] = CODE
    model = manifests.model(MODEL, batching={"defaultQueuePolicy": {"maxQueueSize": QUEUE}})
    # Without a request of CPU a pod starves as soon as anything else on the machine has work.
    template = {"resources": {"requests": {"cpu": "100m"}}}
    services.apply(client, manifests.service(namespace, services.NAME, [model], template=template, **spec))


def activate(client: kubectl.Kubectl, one: Station) -> None:
    """From now on the operator scales it."""
    scaling = {
        "maxReplicas": MAX_SERVERS,
        "headroomPercent": one.contestant.target,
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": DOWN_WINDOW_S}},
    }
    apply(client, one.followed.namespace, autoscaling=scaling, **OBJECTIVE)


async def call_all(stations: list[Station], load: loads.Load) -> None:
    """The same arrivals for all, a little apart."""
    came_s = load.arrivals(1, WARM_UP_S)
    now_s = time.monotonic()
    for number, one in enumerate(stations):
        one.caller.answers.clear()
        one.begin_s = now_s + APART_S * number
    await asyncio.gather(*(one.caller.run(came_s, one.begin_s) for one in stations))


async def teach(client: kubectl.Kubectl, stations: list[Station]) -> None:
    """Load until the profile of our services is there, as it would be in any that runs for long."""
    ours = [one for one in stations if one.contestant.name == OURS]
    began_s = time.monotonic()
    # Enough to let batches of several sizes run, within what the one server carries.
    came_s = loads.constant(6.5, round(PROFILE_LIMIT_S)).arrivals(1)
    calling = [asyncio.create_task(one.caller.run(came_s, began_s)) for one in ours]
    try:
        while True:
            known = await asyncio.to_thread(client.get, "modelprofiles", "--all-namespaces")
            if len(known["items"]) >= len(ours):
                break
            if time.monotonic() - began_s > PROFILE_LIMIT_S:
                raise TimeoutError("no profiles of the model")
            await asyncio.sleep(3)
    finally:
        for task in calling:
            task.cancel()
        await asyncio.gather(*calling, return_exceptions=True)
    print(f"profiles known after {time.monotonic() - began_s:.0f} s", flush=True)
    for one in ours:
        await asyncio.to_thread(activate, client, one)


def judge(stations: list[Station], load: loads.Load) -> list[frontier.Point]:
    """Prints each; its violated seconds and the seconds that it held slices for."""
    until_s = WARM_UP_S + load.seconds
    points = []
    for one in stations:
        answers = one.caller.answers
        violated = judging.find_violated(answers, OBJECTIVE_S, WARM_UP_S, until_s)
        span = one.begin_s + WARM_UP_S, one.begin_s + until_s
        held_s = judging.integrate(one.followed.intervals, *span)
        changes = judging.count_changes(one.followed.intervals, *span)
        contestant = one.contestant
        points.append(frontier.Point(len(violated), held_s, contestant.name, contestant.target))
        failed, late_s = sum(map(math.isinf, (a.took_s for a in answers))), judging.find_lag_s(answers)
        print(
            f"    {contestant.name:<10}{contestant.target:>6g} {contestant.unit:<22}"
            f"{len(violated):>5} s violated {held_s:>7.0f} s of slices {changes:>4} changes; "
            f"{len(answers)} requests, {failed} failed, {1000 * late_s:.0f} ms late "
            f"{dict(one.caller.errors) or ''}"
        )
    return points


def compare(name: str, load: loads.Load, points: list[frontier.Point]) -> list[report.Row]:
    """Rows of one load."""
    mine = [one for one in points if one.name == OURS]
    theirs = [one for one in points if one.name != OURS]
    above = sum(any(one.is_dominated_by(other) for other in theirs) for one in mine)
    joint = ", ".join(f"{one.name} {one.target:g}" for one in frontier.find(points))
    saved = frontier.find_saving(frontier.find(mine), frontier.find(theirs), FEW * load.seconds)
    percent = 100 * (saved or 0.0)
    print(f"    joint frontier: {joint}; {percent:.1f} % saved at equal violations", flush=True)
    return [
        report.Row(f"{name}: our points above the frontier", above, f"of {len(mine)}", 0),
        report.Row(
            f"{name}: our GPU-seconds at equal violations", 100 - percent, "%", 100 - GOAL_PERCENT, 100.0
        ),
    ]


async def run(client: kubectl.Kubectl, stations: list[Station], names: list[str]) -> list[report.Row]:
    """All loads, one after another."""
    rows: list[report.Row] = []
    await teach(client, stations)
    for name in names:
        load = LOADS[name]()
        psutil.cpu_times_percent()
        await call_all(stations, load)
        cpu = psutil.cpu_times_percent()
        print(
            f"\n{name}, {load.seconds} s: {100 - cpu.idle:.0f} % of the CPUs busy, {cpu.steal:.0f} % stolen"
        )
        rows += compare(name, load, judge(stations, load))
        # On a machine that is full it is the machine that is compared.
        rows.append(report.Row(f"{name}: CPUs busy", 100 - cpu.idle, "%", MOST_BUSY_PERCENT))
        rows.append(report.Row(f"{name}: CPU time stolen", cpu.steal, "%"))
    for one in stations:
        await one.caller.close()
    return rows


def main() -> None:
    names = sys.argv[1:] or list(LOADS)
    values = {
        **charts.SANDBOX_VALUES,
        "prometheus.window": WINDOW,
        "prometheus.intervalSeconds": str(SCRAPE_S),
    }
    with serving.provided(values) as (sandbox, client):
        record = _read_record(sandbox)
        hasten_prometheus(record)
        cut(client)
        stations = [deploy(client, number, one) for number, one in enumerate(CONTESTANTS)]
        for one in stations:
            where = ("-n", one.followed.namespace, f"tsvc/{services.NAME}")
            client.run("wait", *where, "--for=condition=Ready=True", services.TIMEOUT)
        asked = fleet.Prometheus(prometheus.url(record), WINDOW)
        with apiclient.ApiClient(pathlib.Path(client.kubeconfig)) as api:
            watcher = fleet.Watcher(api, asked, [one.followed for one in stations], SPEED)
            with watcher.running():
                rows = asyncio.run(run(client, stations, names))
        for said in watcher.trouble[:5]:
            print(f"    a look failed: {said}")
    report.finish("Autoscaling on the real Triton: gpufleet against HPA and KEDA", rows)


def _read_record(sandbox: local.LocalProvider) -> state.Record:
    record = state.load(sandbox.name)
    assert record is not None
    return record


if __name__ == "__main__":
    main()
