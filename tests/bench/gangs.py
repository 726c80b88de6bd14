"""Many jobs, and one large gang, on simulated nodes, against the bare control plane. `make bench-gangs`.

Each part has a control plane of its own, with equal limits: without gpufleet it gets Jobs as they are, with
it TrainingJobs. What is timed is from the first object's creation until the last pod has its node, as the API
server's audit log has both. `BENCH_SCALE=0.1` runs a tenth.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import pathlib
import sys
from typing import Any

from gpufleet import kube
from tests import builders_api
from tests.bench import audit, crowd, operator, report
from tests.builders import GPU

SCALE = float(os.environ.get("BENCH_SCALE", "1"))
NODES = round(500 * SCALE)
JOBS = 8 * NODES
WORKERS = min(512, round(512 * SCALE))
NAMESPACE = "bench"
LIMIT_S = 560.0


@dataclasses.dataclass
class Outcome:
    """One part: seconds until the last pod was bound, and what that took."""

    bound_s: float
    pods: int
    writes: int


def _bare_job(name: str, workers: int) -> dict[str, Any]:
    """What a TrainingJob of plain workers becomes, made by hand."""
    resources = {"limits": {GPU: "1"}}
    container = {"name": "worker", "image": "trainer", "resources": resources}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    spec = {
        "completionMode": "Indexed",
        "completions": workers,
        "parallelism": workers,
        "backoffLimit": 0,
        "template": template,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }


def _training_job(name: str, workers: int) -> dict[str, Any]:
    return builders_api.make_training_job(
        name, NAMESPACE, framework="Plain", workers={"max": workers}, accelerator={"count": 1}
    )


async def _create(kubeconfig: pathlib.Path, manifests: list[dict[str, Any]]) -> None:
    async with crowd.connect(kubeconfig) as client:

        async def create(one: dict[str, Any]) -> None:
            await client.create(kube.path(one["apiVersion"], one["kind"], NAMESPACE), one)

        await crowd.do_all(manifests, create)


def _run(bench: operator.Bench, manifests: list[dict[str, Any]], pods: int) -> Outcome:
    """Creates all of them and waits until so many pods are bound, or for the limit."""
    writes: list[audit.Write] = []
    bound: list[float] = []

    def is_done() -> bool:
        new = [one for one in bench.log.read() if one.namespace == NAMESPACE]
        writes.extend(new)
        bound.extend(one.at_s for one in new if one.resource == "pods/binding")
        return len(bound) >= pods

    bench.log.skip()
    asyncio.run(_create(bench.client.kubeconfig, manifests))
    try:
        operator.wait_for(f"{pods} pods bound", is_done, LIMIT_S)
    except TimeoutError as error:
        print(f"{error}: {len(bound)} of {pods}", flush=True)
    first_s = min(one.at_s for one in writes)
    return Outcome(max(bound, default=first_s) - first_s, len(bound), len(writes))


def measure(part: str) -> tuple[Outcome, Outcome]:
    """(bare, ours) of `jobs` or of `gang`."""
    count, workers = (JOBS, 1) if part == "jobs" else (1, WORKERS)
    found = []
    for build in (_bare_job, _training_job):
        with operator.control_plane(NODES) as bench:
            bench.client.run("create", "namespace", NAMESPACE)
            process = bench.operator("operator")
            if build is _training_job:
                process.start()
                process.wait_ready()
            manifests = [build(f"j{number:04}", workers) for number in range(count)]
            found.append(_run(bench, manifests, count * workers))
            print(part, build.__name__, found[-1], flush=True)
            if process.process is not None:
                process.terminate()
    return found[0], found[1]


def main() -> None:
    rows = []
    for part in sys.argv[1:] or ("jobs", "gang"):
        bare, ours = measure(part)
        name = f"{JOBS} one-GPU jobs" if part == "jobs" else f"one gang of {WORKERS}"
        goal_s = 1.5 * bare.bound_s + (0.0 if part == "jobs" else 2.0)
        rows += [
            report.Row(f"{name}: last pod bound", ours.bound_s, "s", goal_s, bare.bound_s),
            report.Row(f"{name}: not bound", bare.pods - ours.pods, "pods", goal=0.0),
            report.Row(
                f"{name}: API writes per pod",
                ours.writes / bare.pods,
                "writes",
                None,
                bare.writes / bare.pods,
            ),
        ]
    report.finish(f"{NODES} simulated nodes with 8 GPUs each", rows)


if __name__ == "__main__":
    main()
