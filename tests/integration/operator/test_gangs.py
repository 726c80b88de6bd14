"""Gangs that share four nodes in two racks: places, preemption and resizing on a real control plane."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests import builders_api
from tests.integration.conftest import Cluster
from tests.integration.operator import process

RACK, POOL = "example.com/rack", "gpufleet.dev/test-pool"
URGENT = "gangs-urgent"
ACTIVE = {"GPUFLEET_PREEMPTION": "Active", "GPUFLEET_MINIMUM_RUNTIME_S": "0", "GPUFLEET_RESYNC_S": "15"}
END = "gpufleet.dev/kwok-run-seconds=0"


@pytest.fixture(scope="module")
def racks(served: Cluster) -> Iterator[dict[str, str]]:
    """The rack of each node; the pool knows of them."""
    names = sorted(served.kubectl("get", "nodes", "-o", "name").split())
    found = {name.removeprefix("node/"): f"r{number // 2}" for number, name in enumerate(names[:4])}
    for name, rack in found.items():
        served.kubectl("label", "node", name, "--overwrite", f"{RACK}={rack}", f"{POOL}=gangs")
    pool = builders_api.make_pool("gangs", topology={"levels": [RACK]})
    pool["spec"]["nodeSelector"] = {POOL: "gangs"}
    apply(served, pool)
    urgent = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": URGENT}}
    apply(served, {**urgent, "value": 1000, "preemptionPolicy": "Never"})
    yield found
    served.kubectl("delete", "gpool/gangs", f"priorityclass/{URGENT}")
    for name in found:
        served.kubectl("label", "node", name, f"{RACK}-", f"{POOL}-")


@pytest.fixture(scope="module")
def operator(
    served: Cluster, racks: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[process.Operator]:
    with process.running(served.kubeconfig, tmp_path_factory.mktemp("operator"), **ACTIVE) as started:
        yield started.wait_ready()


def apply(cluster: Cluster, manifest: dict[str, Any]) -> None:
    cluster.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(manifest))


class Team:
    """Gangs in a namespace of its own; each worker needs a whole node."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace

    def submit(self, name: str, workers: int, **spec: Any) -> None:
        size = {"max": workers, **({"min": spec.pop("least")} if "least" in spec else {})}
        wanted = {"workers": size, "accelerator": {"count": 8}, **spec}
        apply(self.cluster, builders_api.make_training_job(name, self.namespace, **wanted))

    def read(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            self.cluster.kubectl("get", "tjob", name, "-n", self.namespace, "-o", "json")
        )
        return found.get("status", {})

    def reason(self, name: str) -> str:
        conditions = self.read(name).get("conditions", [])
        return next((str(one["reason"]) for one in conditions if one["type"] == "Succeeded"), "")

    def pods(self, name: str) -> list[dict[str, Any]]:
        labels = f"gpufleet.dev/job={name}"
        listed = self.cluster.kubectl("get", "pods", "-n", self.namespace, "-l", labels, "-o", "json")
        running = [one for one in json.loads(listed)["items"] if one["status"].get("phase") == "Running"]
        return [one for one in running if "deletionTimestamp" not in one["metadata"]]

    def nodes(self, name: str) -> set[str]:
        return {one["spec"]["nodeName"] for one in self.pods(name)}

    def wait_running(self, name: str, workers: int, attempt: int = 1) -> set[str]:
        def is_there() -> bool:
            labels = [one["metadata"]["labels"]["gpufleet.dev/attempt"] for one in self.pods(name)]
            return labels == [str(attempt)] * workers

        process.wait_for(f"{workers} workers of {name}, attempt {attempt}", is_there, 60)
        return self.nodes(name)

    def finish(self, name: str) -> None:
        for pod in self.pods(name):
            self.cluster.kubectl("annotate", "pod", pod["metadata"]["name"], "-n", self.namespace, END)
        process.wait_for(f"the end of {name}", lambda: self.reason(name) == "Completed", 60)


@pytest.fixture
def gangs(served: Cluster, team: str, operator: process.Operator) -> Iterator[Team]:
    yield Team(served, team)
    served.kubectl("delete", "tjob", "--all", "-n", team)
    process.wait_for(
        "an empty namespace", lambda: not served.kubectl("get", "pods", "-n", team, "-o", "name"), 60
    )


def test_a_gang_that_must_be_in_one_rack_is(gangs: Team, racks: dict[str, str]) -> None:
    gangs.submit("wide", 1)
    gangs.wait_running("wide", 1)
    gangs.submit("pair", 2, topology={"required": "rack"})
    nodes = gangs.wait_running("pair", 2)
    assert len({racks[node] for node in nodes}) == 1
    placed = gangs.read("pair")["assignment"]["placement"]
    assert {one["values"][0] for one in placed["domains"]} == nodes
    gangs.submit("three", 3, topology={"required": "rack"})
    process.wait_for("a word", lambda: gangs.reason("three") == "TopologyUnsatisfiable", 60)
    assert gangs.pods("three") == []


def test_a_more_urgent_gang_gets_its_rack_and_the_other_goes_on_after_it(
    gangs: Team, racks: dict[str, str], operator: process.Operator
) -> None:
    gangs.submit("low", 4)
    gangs.wait_running("low", 4)
    gangs.submit("high", 2, topology={"required": "rack"}, priorityClassName=URGENT)
    nodes = gangs.wait_running("high", 2)
    assert len({racks[node] for node in nodes}) == 1
    [record] = gangs.read("low")["history"]
    assert (record["endedBy"], record["attempt"]) == ("Preempted", 1)
    assert f"{gangs.namespace}/high" in record["message"]

    def find_entries() -> list[dict[str, Any]]:
        _, body = operator.get("/queue")
        return [one for one in json.loads(body)["jobs"] if one["namespace"] == gangs.namespace]

    [entry] = process.wait_for("a place in the queue", find_entries, 60)
    assert (entry["name"], entry["position"]) == ("low", 1)
    gangs.finish("high")
    gangs.wait_running("low", 4, attempt=2)
    assert set((gangs.read("low")["failures"] or {}).values()) == {0}


def test_an_elastic_gang_gives_workers_and_stays(gangs: Team) -> None:
    elastic = {"framework": "Torch", "torch": {"rendezvous": "Elastic"}}
    gangs.submit("low", 4, least=2, **elastic)
    before = gangs.wait_running("low", 4)
    gangs.submit("high", 2, priorityClassName=URGENT)
    freed = gangs.wait_running("high", 2)
    assert gangs.wait_running("low", 2) == before - freed
    status = gangs.read("low")
    assert (status["attempt"], status["assignment"]["reason"]) == (1, "Shrunk")
    job = json.loads(gangs.cluster.kubectl("get", "job", "low-1", "-n", gangs.namespace, "-o", "json"))
    assert (job["spec"]["parallelism"], job["spec"]["completions"]) == (2, 2)
    gangs.finish("low")


def test_why_tells_who_is_ahead(gangs: Team, operator: process.Operator) -> None:
    gangs.submit("first", 3)
    gangs.wait_running("first", 3)
    gangs.submit("big", 4)
    gangs.submit("small", 1)
    process.wait_for("the room kept", lambda: gangs.reason("small") == "Reserved", 60)
    where = ["-n", gangs.namespace, "--server", f"http://127.0.0.1:{operator.port}"]
    env = {**os.environ, "KUBECONFIG": str(gangs.cluster.kubeconfig)}
    command = [str(process.GPUFLEET), "why", "tjob/small", *where]
    told = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    assert f"it is behind {gangs.namespace}/big" in told
    gangs.finish("first")
    gangs.wait_running("big", 4)
