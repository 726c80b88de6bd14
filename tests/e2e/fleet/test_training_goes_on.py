"""Four processes learn together on real nodes; one is killed, and the loss goes on as if nothing had been."""

from __future__ import annotations

import json
from collections import defaultdict

import pytest

from gpufleet_sandbox import kubectl
from tests.e2e.fleet import manifests

STEPS, WORKERS = 200, 4
TIMEOUT_S = 480.0
# Each step's data follow from its number and the worker's rank, so that equal steps have equal losses.
LEARN = """
import os, pathlib, signal, time
import jax, numpy
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
jax.config.update("jax_cpu_collectives_implementation", "gloo")
said = os.environ
jax.distributed.initialize(
    said["JAX_COORDINATOR_ADDRESS"], int(said["JAX_NUM_PROCESSES"]), int(said["JAX_PROCESS_ID"])
)
home = pathlib.Path("/checkpoints")
saved, curve = home / (said["RUN"] + ".npz"), home / (said["RUN"] + ".txt")
mesh = jax.make_mesh((jax.device_count(),), ("worker",))
rows = NamedSharding(mesh, PartitionSpec("worker"))

def batch(step):
    key = jax.random.fold_in(jax.random.key(jax.process_index()), step)
    x = jax.random.uniform(key, (64, 2), minval=-1.0, maxval=1.0)
    return x, jnp.tanh(2.0 * (x[:, 0] + x[:, 1]))

def loss_of(params, x, y):
    return jnp.mean((jnp.tanh(x @ params["w1"]) @ params["w2"] - y) ** 2)

@jax.jit
def train(params, x, y):
    loss, gradients = jax.value_and_grad(loss_of)(params, x, y)
    return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients), loss

params, first = {"w1": jax.random.normal(jax.random.key(0), (2, 16)) * 2.0, "w2": jnp.zeros(16)}, 1
if saved.exists():
    with numpy.load(saved) as held:
        first, params = int(held["step"]) + 1, {name: jnp.asarray(held[name]) for name in params}
print("attempt", said["GPUFLEET_ATTEMPT"], "begins with step", first, flush=True)
params = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
for step in range(first, int(said["STEPS"]) + 1):
    parts = [jax.make_array_from_process_local_data(rows, part) for part in batch(step)]
    params, loss = train(params, *parts)
    if jax.process_index() == 0:
        with curve.open("a") as file:
            print(step, repr(float(loss)), file=file)
        if step % 20 == 0:
            new = saved.with_suffix(".new.npz")
            numpy.savez(new, step=step, **{name: numpy.asarray(one) for name, one in params.items()})
            new.replace(saved)
    time.sleep(0.05)
if jax.process_index() == 0:
    print(curve.read_text(), flush=True)
"""
CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "checkpoints"},
    "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
}


def start(fleet: kubectl.Kubectl, namespace: str, name: str) -> None:
    env = {"RUN": name, "STEPS": str(STEPS)}
    claim = {"claimName": "checkpoints"}
    template = {
        "image": "gpufleet.dev/trainer:0.1.0",
        "command": ["python3", "-c", LEARN],
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "volumes": [
            {"name": "checkpoints", "mountPath": "/checkpoints", "persistentVolumeClaim": claim},
        ],
    }
    job = manifests.training_job(
        namespace, name, LEARN, workers=WORKERS, template=template, failurePolicy={"backoffSeconds": 1}
    )
    fleet.run("apply", "--server-side", "-f", "-", stdin=job)


def leader(fleet: kubectl.Kubectl, namespace: str, name: str, attempt: int) -> str:
    """The name of worker 0's pod; none yet is the empty string."""
    labels = f"gpufleet.dev/job={name},gpufleet.dev/attempt={attempt}"
    rank = "batch.kubernetes.io/job-completion-index=0"
    items = fleet.get("pods", "-n", namespace, "-l", f"{labels},{rank}")["items"]
    running = [one for one in items if one["status"].get("phase") == "Running"]
    return running[0]["metadata"]["name"] if running else ""


def read_curve(fleet: kubectl.Kubectl, namespace: str, name: str) -> tuple[list[str], dict[int, list[float]]]:
    """The first line of the last attempt's log, and what each step's loss was, each time that it was done."""
    fleet.run("wait", "-n", namespace, f"tjob/{name}", "--for=condition=Succeeded", f"--timeout={TIMEOUT_S}s")
    attempt = fleet.get("tjob", name, "-n", namespace)["status"]["attempt"]
    labels = f"gpufleet.dev/job={name},gpufleet.dev/attempt={attempt}"
    rank = "batch.kubernetes.io/job-completion-index=0"
    said = fleet.run("logs", "-n", namespace, "-l", f"{labels},{rank}", "--tail=-1")
    begun, *lines = [line.split() for line in said.splitlines() if line[:1].isdecimal() or "begins" in line]
    losses = defaultdict[int, list[float]](list)
    for step, loss in lines:
        losses[int(step)].append(float(loss))
    return begun, losses


def test_after_a_kill_the_loss_is_that_of_an_undisturbed_run(fleet: kubectl.Kubectl, namespace: str) -> None:
    fleet.run("apply", "-n", namespace, "--server-side", "-f", "-", stdin=json.dumps(CLAIM))
    start(fleet, namespace, "calm")
    _, calm = read_curve(fleet, namespace, "calm")
    assert sorted(calm) == [*range(1, STEPS + 1)]
    start(fleet, namespace, "shaken")

    def has_learned() -> bool:
        pod = leader(fleet, namespace, "shaken", 1)
        return bool(pod) and "/checkpoints/shaken.npz" in fleet.run(
            "exec", "-n", namespace, pod, "--", "sh", "-c", "ls /checkpoints/shaken.npz || true"
        )

    kubectl.wait_until("a checkpoint", has_learned, timeout_s=TIMEOUT_S)
    victim = "gpufleet.dev/job=shaken,batch.kubernetes.io/job-completion-index=2"
    fleet.run("delete", "pod", "-n", namespace, "-l", victim, "--wait=false")
    begun, shaken = read_curve(fleet, namespace, "shaken")
    assert begun[:2] == ["attempt", "2"]
    first = int(begun[-1])
    assert first > 1, "it went on from its checkpoint, not from nothing"
    assert (first - 1) % 20 == 0
    assert shaken.keys() == calm.keys()
    for step, losses in shaken.items():
        assert losses == pytest.approx(calm[step] * len(losses), rel=1e-4), f"step {step}"
    assert calm[STEPS][0] < calm[1][0] / 2, "it learns"
