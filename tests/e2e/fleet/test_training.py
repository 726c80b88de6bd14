"""A TrainingJob on real nodes: processes meet, learn together, and start again together."""

from __future__ import annotations

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
    apply(fleet, manifests.training_job(namespace, "retry", FAIL_ONCE))
    fleet.run("wait", "-n", namespace, "tjob/retry", "--for=condition=Succeeded", TIMEOUT)
    assert (
        logs(fleet, namespace, "gpufleet.dev/job=retry,gpufleet.dev/attempt=2").count("attempt 2 done") == 2
    )
    assert fleet.get("tjob", "retry", "-n", namespace)["status"]["attempt"] == 2


def test_a_gang_that_fails_again_is_given_up(fleet: kubectl.Kubectl, namespace: str) -> None:
    apply(fleet, manifests.training_job(namespace, "lost", FAIL_ALWAYS))
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
        lambda: condition(fleet, namespace, "big", "Succeeded").get("reason") == "InsufficientCapacity",
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
