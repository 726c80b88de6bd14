"""MIG plans against the integer program, at scale, and on a trace. `make bench-mig`, about four minutes."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
from typing import Any

from gpufleet.decide.mig.planning import ilp, planner, values
from tests import mig_checks, mig_fleets
from tests.bench import mig_openb, mig_slices, report

FLEETS = 200
TIME_LIMIT_S = 10.0
SHOWN = (0, 1, 5, 10, 25, 50)


def compare_with_ilp() -> list[report.Row]:
    """Random fleets of 1 to 64 GPUs, all families, 0 to 90 % busy, both grains."""
    served = bound = first_fit = 0.0
    shares, gaps, worse = [], [], 0
    for seed in range(FLEETS):
        rng = random.Random(seed)
        grain = list(values.Grain)[seed % 2]
        gpus = mig_fleets.build_fleet(rng, rng.randint(1, 64), rng.uniform(0, 0.9), grain)
        demands = mig_fleets.build_demands(rng, gpus, rng.uniform(0.2, 1.5))
        plan = planner.plan(gpus, demands)
        mig_checks.check(gpus, plan)
        solved = ilp.solve(gpus, demands, TIME_LIMIT_S)
        assert plan.bound >= solved.served - 1e-6
        by_first_fit = mig_checks.serve_first_fit(gpus, demands)
        served, bound, first_fit = served + plan.served, bound + solved.bound, first_fit + by_first_fit
        worse += plan.served < by_first_fit - 1e-9
        gaps.append(100 * solved.gap)
        shares.append(100 * plan.served / solved.bound if solved.bound else 100.0)
    shares.sort()
    told = ", ".join(f"{percent} %: {shares[percent * (FLEETS - 1) // 100]:.2f}" for percent in SHOWN)
    print(f"% of the bound, percentiles of {FLEETS} fleets: {told}; mean {statistics.mean(shares):.3f}")
    print(f"at the bound: {sum(one > 99.999 for one in shares)} of {FLEETS}")
    print(f"HiGHS's own gap: mean {statistics.mean(gaps):.4f} %, most {max(gaps):.4f} %", flush=True)
    return [
        report.Row(
            f"{FLEETS} fleets: short of the ILP's bound", 100 * (1 - served / bound), "%", 1,
            100 * (1 - first_fit / bound),
        ),
        report.Row(f"{FLEETS} fleets: worse than first-fit", worse, "fleets", 0),
    ]  # fmt: skip


def plan_at_scale(grain: values.Grain) -> dict[str, Any]:
    """24,000 GPUs in a process of its own."""
    argv = [sys.executable, "-m", "tests.bench.mig_scale", grain]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(shown.stdout)
    print(f"24,000 GPUs, grain {grain}: {json.dumps(found, ensure_ascii=False)}", flush=True)
    return found


def scale_rows() -> list[report.Row]:
    """The goals are for mig-manager's grain: where DRA cuts, the cluster plans for itself."""
    whole, single = plan_at_scale(values.Grain.GPU), plan_at_scale(values.Grain.INSTANCE)
    first_fit = whole["firstFitShortPercent"]
    return [
        report.Row("24,000 GPUs: a plan, best of three", whole["planS"], "s", 2),
        report.Row("24,000 GPUs: most memory", whole["peakMib"], "MiB", 200),
        report.Row("24,000 GPUs: after one node, median", whole["replanMedianMs"], "ms", 50),
        report.Row("24,000 GPUs: after one node, worst of 40", whole["replanWorstMs"], "ms"),
        report.Row("24,000 GPUs: short of the bound", whole["shortOfBoundPercent"], "%", 1, first_fit),
        report.Row("24,000 GPUs: replans short of a new plan", whole["replanShortPercent"], "%", 1),
        report.Row("24,000 GPUs by instances: a plan", single["planS"], "s"),
        report.Row("24,000 GPUs by instances: most memory", single["peakMib"], "MiB", 200),
        report.Row("24,000 GPUs by instances: after one node", single["replanMedianMs"], "ms"),
    ]


def openb_rows() -> list[report.Row]:
    """Slices that baselines admit, in percent of ours: less than 100 is what is asked for."""
    pods = mig_openb.read_pods()
    if pods is None:
        print("openb: no trace at $GPUFLEET_TRACES or ../shared/data; left out")
        return []
    found = mig_openb.compare(pods)
    for name, result in found.items():
        print(f"openb, {name}: {result.slices} slices, {result.sevenths} sevenths", flush=True)
    ours = found.pop("planner")
    rows = []
    for name, result in found.items():
        goal = None if name == "planner, whole GPUs" else 99.99
        rows.append(
            report.Row(f"openb: {name} admits, planner 100", 100 * result.slices / ours.slices, "%", goal)
        )
    return rows


def slice_rows() -> list[report.Row]:
    """What the preference leaves of a fleet of which about 35 % is held; the baseline is the plugin alone."""
    found = mig_slices.compare()
    for name, result in found.items():
        told = f"{100 * result.whole:.1f} % whole, {100 * result.load:.1f} % held"
        print(f"slices, {name}: {told}, {result.label_writes:.3f} writes per pod", flush=True)
    rows = []
    for policy in ("distributed", "packed"):
        alone, ours = found[policy], found[f"{policy}, preferred"]
        blind = found[f"{policy}, preferred, without agents"]
        baseline = 100 * (1 - alone.whole)
        rows += [
            report.Row(f"slices, {policy}: GPUs held", 100 * (1 - ours.whole), "%", 50, baseline),
            report.Row(
                f"slices, {policy}: the same without agents", 100 * (1 - blind.whole), "%", 50, baseline
            ),
            report.Row(f"slices, {policy}: label writes per 100 pods", 100 * ours.label_writes, "", 10),
        ]
    return rows


def main() -> None:
    rows = [*slice_rows(), *scale_rows(), *openb_rows(), *compare_with_ilp()]
    report.finish("MIG plans", rows)


if __name__ == "__main__":
    main()
