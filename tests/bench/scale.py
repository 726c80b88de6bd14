"""1,000 TritonServices on simulated nodes: writes, memory, restart, quiet. `make bench-scale`."""

from __future__ import annotations

import json
import os
import time
from collections import Counter

from tests import access, builders_api
from tests.bench import audit, operator, report

SERVICES = int(os.environ.get("BENCH_SERVICES", "1000"))
PODS_EACH = 2
NODES = 50
CHILDREN = 4
QUIET_S = 120


def _manifests() -> str:
    made = [
        builders_api.make_service(f"s{number:04}", "bench", replicas=PODS_EACH) for number in range(SERVICES)
    ]
    for one in made:
        one["spec"].pop("accelerator", None)
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": made})


def _are_settled(bench: operator.Bench) -> bool:
    template = (
        "jsonpath={range .items[*]}{.status.readyReplicas} "
        '{.status.conditions[?(@.type=="Ready")].status}'
        '{.status.conditions[?(@.type=="Reconciling")].status}{"\\n"}{end}'
    )
    lines = bench.client.run("get", "tsvc", "-n", "bench", "-o", template).splitlines()
    return lines.count(f"{PODS_EACH} TrueFalse") == SERVICES


def _own(writes: list[audit.Write]) -> list[audit.Write]:
    return [one for one in writes if one.user == access.USER]


def main() -> None:
    with operator.control_plane(NODES) as bench:
        bench.client.run("create", "namespace", "bench")
        first = bench.operator("first")
        first.start()
        first.wait_ready()
        bench.log.skip()
        bench.client.run("apply", "--server-side", "-f", "-", stdin=_manifests(), timeout_s=1200)
        settled_s = operator.wait_for("all services settled", lambda: _are_settled(bench), 1800, 3.0)
        writes = _own(bench.log.read())
        per_object = Counter(one.name for one in writes if one.resource == "tritonservices/status")
        children = sum(one.resource in ("deployments", "services", "configmaps") for one in writes)
        events = sum(one.resource == "events" for one in writes)
        rss_mib = operator.read_rss_mib(first)
        time.sleep(15)  # what was under way ends
        bench.log.skip()
        time.sleep(QUIET_S)  # quiet is what is measured
        quiet = len(_own(bench.log.read()))
        first.terminate()
        bench.log.skip()
        second = bench.operator("second")
        second.start()
        second.wait_ready()
        time.sleep(60)  # a restarted operator has looked at every object by then
        restarted = len(_own(bench.log.read()))
        second_mib = operator.read_rss_mib(second)
        second.terminate()
    worst = max(per_object.values()) + children / SERVICES
    rows = [
        report.Row("all settled after the last was created", settled_s, "s"),
        report.Row(
            "writes per object, mean, Events excepted",
            (len(writes) - events) / SERVICES,
            "writes",
            CHILDREN + 3,
        ),
        report.Row("writes per object, worst, Events excepted", worst, "writes", CHILDREN + 3),
        report.Row("Events per object, mean", events / SERVICES, "writes"),
        report.Row("writes in 2 idle minutes", quiet, "writes", 0),
        report.Row("writes of a restart with unchanged objects", restarted, "writes", 0),
        report.Row("operator memory after creation", rss_mib, "MiB RSS", 200),
        report.Row("operator memory after restart", second_mib, "MiB RSS", 200),
    ]
    report.finish(f"{SERVICES} TritonServices, {SERVICES * PODS_EACH} pods on {NODES} simulated nodes", rows)


if __name__ == "__main__":
    main()
