"""From `kubectl apply` to the first answer, step by step. `make bench-start`.

Whoever asks does so by the address of the Service, from a node, all the time. The same pod as a bare
Deployment in the same run is the baseline: what is left there is Kubernetes' and Triton's.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime
import json
import pathlib
import re
import statistics
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any

import psutil

from gpufleet_sandbox import apiclient, kubectl, local
from tests.bench import audit, report, serving
from tests.e2e.fleet import manifests, services

REPEATS = 5
GOAL_S = 2.0
LIMIT_S = 45
BARE = "bare"
_TICKS_PER_S = 100

# Sends one request after another to the address until one is answered, and prints when that was.
_ASK = """
import http.client, json, sys, time
tensor = {"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
body = json.dumps({"inputs": [tensor]})
until = time.monotonic() + float(sys.argv[2])
while time.monotonic() < until:
    one = http.client.HTTPConnection(sys.argv[1], 8000, timeout=1)
    try:
        one.request("POST", f"/v2/models/{sys.argv[3]}/infer", body)
        answer = one.getresponse()
        if answer.status == 200 and json.loads(answer.read())["outputs"][0]["data"] == [2, 4, 6, 8]:
            print(time.time())
            break
    except (OSError, http.client.HTTPException):
        pass
    finally:
        one.close()
    time.sleep(0.02)
"""


@dataclasses.dataclass(frozen=True)
class Start:
    """One start: when each step was done, in seconds after `kubectl apply` was typed, in order."""

    steps: dict[str, float]
    own_s: float
    """What Triton took from its exec until its ports were open, and from being asked to load until it had."""

    @property
    def took_s(self) -> float:
        return self.steps["answer"]

    @property
    def beyond_s(self) -> float:
        return self.took_s - self.own_s

    def __str__(self) -> str:
        shown = ", ".join(f"{name} {at_s:.2f}" for name, at_s in self.steps.items())
        return f"{shown}; Triton {self.own_s:.2f}, beyond {self.beyond_s:.2f}"


@dataclasses.dataclass
class Bench:
    """The cluster, its audit log, and a node from which the questions come."""

    sandbox: local.LocalProvider
    client: kubectl.Kubectl

    def __post_init__(self) -> None:
        self.log = audit.Log(self.sandbox.kubeconfig().parent / "audit.log")

    def measure(self, manifest: str, service: str) -> Start:
        """Applies and asks until it is answered. Raises TimeoutError."""
        self.log.skip()
        begun_s = time.time()
        answered: list[float] = []
        asking = threading.Thread(target=lambda: answered.append(self._ask(service)))
        asking.start()
        services.apply(self.client, manifest)
        applied_s = time.time()
        asking.join()
        [pod] = self.client.get("pods", "-n", serving.NAMESPACE)["items"]
        name = pod["metadata"]["name"]
        made = {
            "applied": applied_s,
            **find_writes(self.log.read(), name, answered[0]),
            **find_processes(name),
            **self._read_log(name),
            "answer": answered[0],
        }
        own_s = made["Triton up"] - made["Triton"] + made["loaded"] - made["load asked"]
        in_order = sorted(made.items(), key=lambda step: step[1])
        return Start({step: at_s - begun_s for step, at_s in in_order}, own_s)

    def _ask(self, service: str) -> float:
        """When the first answer came. Raises TimeoutError."""
        path = f"/api/v1/namespaces/{serving.NAMESPACE}/services/{service}"
        with apiclient.ApiClient(self.sandbox.kubeconfig()) as api:
            until_s = time.monotonic() + LIMIT_S
            while (found := api.get_or_none(path)) is None and time.monotonic() < until_s:
                time.sleep(0.02)
        address = found["spec"]["clusterIP"] if found else ""
        argv = [sys.executable, "-c", _ASK, address, str(LIMIT_S), serving.MODEL]
        said = self.sandbox.exec_on_node(self.sandbox.nodes()[0], argv)
        if not said:
            raise TimeoutError(f"no answer within {LIMIT_S} s")
        return float(said)

    def _read_log(self, pod: str) -> dict[str, float]:
        """What Triton says of itself."""
        lines = self.client.run(
            "logs", "-n", serving.NAMESPACE, pod, "-c", "triton", "--timestamps"
        ).splitlines()
        marks = {
            "Triton's first line": "",
            "Triton up": "Started HTTPService",
            "load asked": f"loading: {serving.MODEL}:",
            "loaded": f"successfully loaded '{serving.MODEL}'",
        }
        return {step: read_time_s(next(one for one in lines if mark in one)) for step, mark in marks.items()}

    def clear(self, *kinds: str) -> None:
        """Back to an empty namespace."""
        for kind in kinds:
            self.client.run("delete", kind, "-n", serving.NAMESPACE, "--all", "--wait=false")
        flags = ("--all", "--grace-period=0", "--force")

        def is_empty() -> bool:
            self.client.run("delete", "pods", "-n", serving.NAMESPACE, *flags)
            return not self.client.get("pods,deployments,services", "-n", serving.NAMESPACE)["items"]

        kubectl.wait_until("an empty namespace", is_empty, timeout_s=120)


def find_writes(writes: Iterable[audit.Write], pod: str, until_s: float) -> dict[str, float]:
    """When the API server had what the steps wait for."""
    steps = {
        "assigned": ("tritonservices/status", services.NAME),
        "Deployment": ("deployments", None),
        "bound": ("pods/binding", pod),
    }
    listed = [one for one in writes if one.namespace == serving.NAMESPACE and one.at_s <= until_s]
    found = {}
    for step, (resource, name) in steps.items():
        times = [one.at_s for one in listed if one.resource == resource and name in (None, one.name)]
        if times:
            found[step] = times[0]
    created = [one.at_s for one in listed if one.resource == "pods" and one.verb == "create"]
    told = [one.at_s for one in listed if one.resource == "pods/status" and one.name == pod]
    return {**found, "pod": created[0], "ready": told[-1]}


def find_processes(pod: str) -> dict[str, float]:
    """When the kubelet had them started, and when Triton got its key."""
    found = {}
    for process in psutil.process_iter():
        try:
            if process.environ().get("HOSTNAME") != pod:
                continue
            line = process.cmdline()
        except (psutil.Error, OSError):
            continue
        if "gpufleet.agents.model" in line:
            found["agent"] = read_start_s(process.pid)
        elif line and line[0] == "tritonserver":
            shell_s = read_start_s(process.pid)
            key_s = pathlib.Path(f"/proc/{process.pid}/root/run/gpufleet/key").stat().st_mtime
            found |= {"Triton's shell": shell_s, "Triton": max(shell_s, key_s)}
    return found


def read_start_s(pid: int) -> float:
    """Field 22 of /proc/PID/stat counts from the boot (proc(5)); psutil adds a boot time in whole seconds."""
    ticks = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    uptime_s = float(pathlib.Path("/proc/uptime").read_text().split()[0])
    return time.time() - uptime_s + ticks / _TICKS_PER_S


def read_time_s(line: str) -> float:
    """Of a line of `kubectl logs --timestamps`, whose nanoseconds Python does not read."""
    stamp = re.sub(r"(\.\d{6})\d*", r"\1", line.split()[0])
    return datetime.datetime.fromisoformat(stamp).timestamp()


def bare(client: kubectl.Kubectl) -> str:
    """What the operator made of the service, as a user could have written it."""
    [made] = client.get("deployments", "-n", serving.NAMESPACE)["items"]
    [wanted] = [
        one
        for one in client.get("configmaps", "-n", serving.NAMESPACE)["items"]
        if one["metadata"]["name"].endswith("-wanted-models")
    ]
    template = copy.deepcopy(made["spec"]["template"])
    template["metadata"]["labels"] = {"app": BARE}
    models = f"{BARE}-models"
    for volume in template["spec"]["volumes"]:
        if volume["name"] == "wanted":
            volume["configMap"]["name"] = models
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": BARE}}, "template": template}
    ports = [{"name": "http", "port": 8000, "protocol": "TCP"}]
    code = manifests.service(serving.NAMESPACE, services.NAME, [serving.MODEL]).split("\n---\n")[0]
    about = {"name": BARE, "namespace": serving.NAMESPACE}
    listed = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {**about, "name": models},
            "data": wanted["data"],
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": about,
            "spec": {"selector": {"app": BARE}, "ports": ports},
        },
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": about, "spec": spec},
    ]
    return "\n---\n".join([code, *map(json.dumps, listed)])


def main() -> None:
    ours: list[Start] = []
    theirs: list[Start] = []
    with serving.provided() as (sandbox, client):
        bench = Bench(sandbox, client)
        manifest: Any = manifests.service(serving.NAMESPACE, services.NAME, [serving.MODEL], replicas=1)
        for _ in range(REPEATS):
            ours.append(bench.measure(manifest, services.NAME))
            print(f"TritonService: {ours[-1]}", flush=True)
            same = bare(client)
            bench.clear("tsvc")
            theirs.append(bench.measure(same, BARE))
            print(f"bare Deployment: {theirs[-1]}", flush=True)
            bench.clear("deployment", "service", "configmap")
    median = statistics.median
    rows = [
        report.Row(
            "apply to first answer, median",
            median(one.took_s for one in ours),
            "s",
            baseline=median(one.took_s for one in theirs),
        ),
        report.Row(
            "of it beyond Triton's start and load, median",
            median(one.beyond_s for one in ours),
            "s",
            GOAL_S,
            median(one.beyond_s for one in theirs),
        ),
        report.Row(
            "the same, worst",
            max(one.beyond_s for one in ours),
            "s",
            baseline=max(one.beyond_s for one in theirs),
        ),
    ]
    report.finish(f"A new service of one server, {REPEATS} times", rows)


if __name__ == "__main__":
    main()
