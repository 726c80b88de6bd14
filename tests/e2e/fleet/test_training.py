"""A TrainingJob on real nodes: processes meet, learn together, and start again together."""

from __future__ import annotations

import json
import re
from typing import Any

from gpufleet_sandbox import gobuild, kubectl
from tests.e2e.fleet import manifests

TIMEOUT = "--timeout=240s"

MEET = """
import os, jax
jax.config.update("jax_cpu_collectives_implementation", "gloo")
said = os.environ
jax.distributed.initialize(
    said["JAX_COORDINATOR_ADDRESS"], int(said["JAX_NUM_PROCESSES"]), int(said["JAX_PROCESS_ID"])
)
from jax.experimental import multihost_utils
import jax.numpy as jnp
print("ranks", sorted(multihost_utils.process_allgather(jnp.array(jax.process_index())).tolist()), flush=True)
"""
FAIL_ONCE = """
import os, sys, time
first = os.environ["GPUFLEET_ATTEMPT"] == "1"
if first and os.environ["JAX_PROCESS_ID"] == "1":
    sys.exit("lost a GPU")
time.sleep(600 if first else 0)
print("attempt", os.environ["GPUFLEET_ATTEMPT"], "done", flush=True)
"""
FAIL_ALWAYS = "import sys; sys.exit('no data')"
SOON = {"backoffSeconds": 1}
FREE_ONLY = {"backoffSeconds": 1, "maxRestarts": 0}
# Tells its progress, and when it is told to end it says that all is well.
POLITE = """
import http.server, json, os, signal, sys, threading, time
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"step": 7, "totalSteps": 9, "checkpoint": {"step": 5}}).encode())
if os.environ["JOB_COMPLETION_INDEX"] == "0":
    server = http.server.ThreadingHTTPServer(("", int(os.environ["GPUFLEET_PROGRESS_PORT"])), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
while not os.path.exists("/tmp/done") and os.environ["GPUFLEET_ATTEMPT"] == "1":
    time.sleep(0.2)
"""
GREEDY = "held = bytearray(1 << 30); print(len(held))"
TYPO = "import a_module_that_is_not_there"


def apply(fleet: kubectl.Kubectl, manifest: str) -> None:
    fleet.run("apply", "--server-side", "-f", "-", stdin=manifest)


def condition(fleet: kubectl.Kubectl, namespace: str, name: str, type_: str) -> dict[str, Any]:
    read = fleet.get("tjob", name, "-n", namespace)
    found = [one for one in read.get("status", {}).get("conditions", []) if one["type"] == type_]
    return found[0] if found else {}


def logs(fleet: kubectl.Kubectl, namespace: str, selector: str) -> str:
    return fleet.run("logs", "-n", namespace, "-l", selector, "--tail=-1")


def test_processes_of_a_gang_meet(fleet: kubectl.Kubectl, namespace: str) -> None:
    apply(fleet, manifests.training_job(namespace, "meet", MEET))
    fleet.run("wait", "-n", namespace, "tjob/meet", "--for=condition=Succeeded", TIMEOUT)
    assert logs(fleet, namespace, "gpufleet.dev/job=meet").count("ranks [0, 1]") == 2


def test_a_failed_worker_restarts_the_whole_gang_once(fleet: kubectl.Kubectl, namespace: str) -> None:
    apply(fleet, manifests.training_job(namespace, "retry", FAIL_ONCE, failurePolicy=SOON))
    fleet.run("wait", "-n", namespace, "tjob/retry", "--for=condition=Succeeded", TIMEOUT)
    assert (
        logs(fleet, namespace, "gpufleet.dev/job=retry,gpufleet.dev/attempt=2").count("attempt 2 done") == 2
    )
    assert fleet.get("tjob", "retry", "-n", namespace)["status"]["attempt"] == 2


def test_a_gang_that_fails_again_is_given_up(fleet: kubectl.Kubectl, namespace: str) -> None:
    apply(fleet, manifests.training_job(namespace, "lost", FAIL_ALWAYS, failurePolicy=SOON))
    kubectl.wait_until(
        "the job given up",
        lambda: condition(fleet, namespace, "lost", "Succeeded").get("reason") == "RestartsExhausted",
        timeout_s=200,
    )
    jobs = fleet.get("jobs", "-n", namespace, "-l", "gpufleet.dev/job=lost")["items"]
    assert len(jobs) == 2


def test_a_gang_that_does_not_fit_waits_whole_and_says_what_lacks(
    fleet: kubectl.Kubectl, namespace: str
) -> None:
    script = "print('never')"
    big = manifests.training_job(namespace, "big", script, workers=64, accelerator={"count": 1})
    apply(fleet, big)
    kubectl.wait_until(
        "a reason",
        lambda: condition(fleet, namespace, "big", "Succeeded").get("reason") == "ExceedsFleet",
        timeout_s=60,
    )
    assert "64" in condition(fleet, namespace, "big", "Succeeded")["message"]
    assert not fleet.get("pods", "-n", namespace)["items"]


def test_the_example_learns(fleet: kubectl.Kubectl, namespace: str) -> None:
    example = gobuild.tools_root().parent / "examples" / "training-job.yaml"
    fleet.run("apply", "-n", namespace, "--server-side", "-f", str(example))
    fleet.run("wait", "-n", namespace, "tjob/regression", "--for=condition=Succeeded", TIMEOUT)
    said = logs(fleet, namespace, "gpufleet.dev/job=regression,batch.kubernetes.io/job-completion-index=0")
    losses = [float(number) for number in re.findall(r"loss ([0-9.e+-]+)", said)]
    assert len(losses) >= 5
    assert losses[-1] < losses[0] / 2


def status(fleet: kubectl.Kubectl, namespace: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = fleet.get("tjob", name, "-n", namespace).get("status", {})
    return found


def test_an_evicted_worker_that_exits_with_0_has_not_succeeded(
    fleet: kubectl.Kubectl, namespace: str
) -> None:
    polite = manifests.training_job(
        namespace, "polite", POLITE, framework="Plain", progress={"port": 8080}, failurePolicy=FREE_ONLY
    )
    apply(fleet, polite)
    kubectl.wait_until(
        "its progress",
        lambda: status(fleet, namespace, "polite").get("progress", {}).get("checkpointStep") == 5,
        timeout_s=60,
    )
    victim = fleet.get("pods", "-n", namespace, "-l", "gpufleet.dev/job=polite")["items"][1]["metadata"][
        "name"
    ]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": victim}}
    path = f"/api/v1/namespaces/{namespace}/pods/{victim}/eviction"
    fleet.run("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    fleet.run("wait", "-n", namespace, "tjob/polite", "--for=condition=Succeeded", TIMEOUT)
    told = status(fleet, namespace, "polite")
    assert [one["endedBy"] for one in told["history"]] == ["Completed", "Infrastructure"]
    assert (told["history"][1]["worker"], told["progress"]["step"]) == (victim, 7)


def test_a_worker_without_enough_memory_is_tried_once_more(fleet: kubectl.Kubectl, namespace: str) -> None:
    resources = {"requests": {"memory": "32Mi"}, "limits": {"memory": "64Mi"}}
    template = {"image": "gpufleet.dev/trainer:0.1.0", "command": ["python3", "-c", GREEDY]}
    greedy = manifests.training_job(
        namespace,
        "greedy",
        GREEDY,
        workers=1,
        framework="Plain",
        template=template | {"resources": resources},
        failurePolicy={"backoffSeconds": 1, "maxRestarts": 9},
    )
    apply(fleet, greedy)
    kubectl.wait_until(
        "the job given up",
        lambda: condition(fleet, namespace, "greedy", "Succeeded").get("reason") == "OutOfMemory",
        timeout_s=90,
    )
    told = status(fleet, namespace, "greedy")
    assert [one["endedBy"] for one in told["history"]] == ["OutOfMemory", "OutOfMemory"]
    assert "limits.memory" in told["history"][0]["message"]


def test_a_typo_ends_the_job_at_once_and_status_has_the_words(fleet: kubectl.Kubectl, namespace: str) -> None:
    apply(fleet, manifests.training_job(namespace, "typo", TYPO, workers=1, framework="Plain"))
    kubectl.wait_until(
        "the job given up",
        lambda: condition(fleet, namespace, "typo", "Succeeded").get("reason") == "UserError",
        timeout_s=60,
    )
    assert (
        "No module named 'a_module_that_is_not_there'"
        in (condition(fleet, namespace, "typo", "Succeeded")["message"])
    )
    assert status(fleet, namespace, "typo")["attempt"] == 1
