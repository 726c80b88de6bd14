"""One large fleet in a process of its own: time and memory of its plans, as JSON on standard output."""

from __future__ import annotations

import json
import random
import resource
import statistics
import sys
import time

from gpufleet.decide.mig.planning import planner, values
from tests import mig_checks, mig_fleets

GPUS = 24_000
REPLANS = 40


def main(grain: values.Grain) -> None:
    rng = random.Random(1)
    gpus = mig_fleets.build_fleet(rng, GPUS, 0.4, grain)
    demands = mig_fleets.build_demands(rng, gpus, 0.9)
    runs_s = []
    for _ in range(3):
        started = time.perf_counter()
        plans = planner.Planner(gpus, demands)
        plan = plans.plan()
        runs_s.append(time.perf_counter() - started)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    mig_checks.check(gpus, plan)
    by_node: dict[str, list[values.Gpu]] = {}
    for gpu in gpus:
        by_node.setdefault(gpu.node, []).append(gpu)
    replans_s = []
    for _ in range(REPLANS):
        node = rng.choice(sorted(by_node))
        by_node[node] = [
            mig_fleets.build_gpu(rng, node, one.index, one.model, 0.4, grain) for one in by_node[node]
        ]
        started = time.perf_counter()
        again = plans.replace_node(node, by_node[node])
        replans_s.append(time.perf_counter() - started)
    changed = [gpu for node in by_node.values() for gpu in node]
    mig_checks.check(changed, again)
    fresh = planner.plan(changed, demands)
    print(
        json.dumps(
            {
                "planS": min(runs_s),
                "peakMib": peak_mib,
                "replanMedianMs": 1000 * statistics.median(replans_s),
                "replanWorstMs": 1000 * max(replans_s),
                "shortOfBoundPercent": 100 * (1 - plan.served / plan.bound),
                "replanShortPercent": 100 * (1 - again.served / fresh.served),
                "firstFitShortPercent": 100 * (1 - mig_checks.serve_first_fit(gpus, demands) / plan.bound),
                "message": plan.message,
            }
        )
    )


if __name__ == "__main__":
    main(values.Grain(sys.argv[1]))
