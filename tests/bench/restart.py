"""From the failure of a worker until all of its gang run again, on simulated nodes. `make bench-restart`."""

from __future__ import annotations

import json
import os
from typing import Any

from tests import builders_api
from tests.bench import operator, report

WORKERS = int(os.environ.get("BENCH_WORKERS", "64"))
NODES = 8
FAILURES = 5
NAMESPACE = "bench"


def _list_running(bench: operator.Bench, attempt: int) -> list[dict[str, Any]]:
    selector = f"gpufleet.dev/attempt={attempt}"
    listed = bench.client.get("pods", "-n", NAMESPACE, "-l", selector)["items"]
    return [one for one in listed if one["status"].get("phase") == "Running"]


def _wait_running(bench: operator.Bench, attempt: int) -> float:
    return operator.wait_for(
        f"{WORKERS} workers of attempt {attempt}",
        lambda: len(_list_running(bench, attempt)) == WORKERS,
        120,
        0.2,
    )


def main() -> None:
    with operator.control_plane(NODES) as bench:
        bench.client.run("create", "namespace", NAMESPACE)
        process = bench.operator("operator")
        process.start()
        process.wait_ready()
        wanted = builders_api.make_training_job(
            "gang",
            NAMESPACE,
            workers={"max": WORKERS},
            accelerator={"count": 1},
            failurePolicy={"maxRestarts": 99, "backoffSeconds": 0},
        )
        bench.client.run("apply", "--server-side", "-f", "-", stdin=json.dumps(wanted))
        first_s = _wait_running(bench, 1)
        took = []
        for attempt in range(1, FAILURES + 1):
            victim = _list_running(bench, attempt)[-1]["metadata"]["name"]
            failing = "gpufleet.dev/kwok-exit-code=1"
            bench.client.run("annotate", "pod", "-n", NAMESPACE, victim, failing)
            took.append(_wait_running(bench, attempt + 1))
        process.terminate()
    rows = [
        report.Row("start, from apply to all running", first_s, "s"),
        report.Row("restart, median", sorted(took)[FAILURES // 2], "s"),
        report.Row("restart, worst", max(took), "s", goal=5),
    ]
    report.finish(f"a gang of {WORKERS} workers, {FAILURES} failures, no backoff", rows)


if __name__ == "__main__":
    main()
