"""API writes of a TrainingJob with one worker, against the bare Job in the same run. `make bench-job`."""

from __future__ import annotations

import json
from typing import Any

from tests import builders_api
from tests.bench import audit, operator, report

NAMESPACE = "bench"
ENDED = "gpufleet.dev/kwok-run-seconds=1"


def _bare_job() -> dict[str, Any]:
    container = {"name": "worker", "image": "trainer"}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    spec = {
        "completionMode": "Indexed",
        "completions": 1,
        "parallelism": 1,
        "backoffLimit": 0,
        "template": template,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "bare", "namespace": NAMESPACE},
        "spec": spec,
    }


def _measure(
    bench: operator.Bench, manifest: dict[str, Any], selector: str, done: tuple[str, str]
) -> list[audit.Write]:
    """All writes by whomever from creation to success; the annotation that ends the pod is left out."""
    bench.log.skip()
    bench.client.run("apply", "--server-side", "-f", "-", stdin=json.dumps(manifest))

    def pods() -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = bench.client.get("pods", "-n", NAMESPACE, "-l", selector)["items"]
        return [one for one in listed if one["status"].get("phase") == "Running"]

    operator.wait_for("the worker runs", lambda: bool(pods()), 60, 0.2)
    bench.client.run("annotate", "pod", "-n", NAMESPACE, pods()[0]["metadata"]["name"], ENDED)
    bench.client.run("wait", "-n", NAMESPACE, done[0], f"--for=condition={done[1]}", "--timeout=60s")
    operator.wait_for("the last writes", lambda: True, 60, 3.0)
    writes = [one for one in bench.log.read() if one.namespace == NAMESPACE]
    return [one for one in writes if (one.user, one.resource) != (writes[0].user, "pods")]


def main() -> None:
    with operator.control_plane(1) as bench:
        bench.client.run("create", "namespace", NAMESPACE)
        process = bench.operator("operator")
        process.start()
        process.wait_ready()
        bare = _measure(bench, _bare_job(), "job-name=bare", ("job/bare", "Complete"))
        wanted = builders_api.make_training_job("ours", NAMESPACE, framework="Plain", workers={"max": 1})
        wanted["spec"].pop("accelerator", None)
        ours = _measure(bench, wanted, "gpufleet.dev/job=ours", ("tjob/ours", "Succeeded"))
        process.terminate()
    for title, writes in (("bare", bare), ("ours", ours)):
        print(title, [f"{one.verb} {one.resource}" for one in writes])
    rows = [
        report.Row("API writes of one worker", len(ours), "writes", goal=2 * len(bare), baseline=len(bare))
    ]
    report.finish("TrainingJob of one worker against a bare Job", rows)


if __name__ == "__main__":
    main()
