"""gpufleet's autoscaler against four others in the simulator. `make bench-autoscaling`.

All see the same arrivals, cold starts and batcher. A minute is violated when its P99 is beyond the objective
or more than 1 % of its requests were refused; what is paid are the hours that pods hold a GPU.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import multiprocessing
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping

from gpufleet.decide.triton.service_time import ServiceTime, Setting
from gpufleet.sim import batcher, loads, service
from tests.bench import autoscaling_cost, frontier, report
from tests.bench.autoscalers import chart, hpa, keda, kpa, ours

ROOT = pathlib.Path(__file__).parents[2]
TRACES = pathlib.Path(os.environ.get("GPUFLEET_TRACES", ROOT.parent / "shared/data"))
PROCESSES = 2
SEEDS = (1, 2)
PEAK = 150.0
"""Requests per second in the busiest minute, for which about ten servers are needed."""
HOUR_S = 3600
FEW = 0.05
"""Share of violated minutes up to which savings count: beyond it nobody would run a service."""
GOAL = 5.0

SETUP = service.Setup(
    model=batcher.Model(ServiceTime(0.1, 0.04), spread=0.1),
    setting=Setting(8),
    objective_s=1.0,
    queue_limit=64,
    max_replicas=20,
    fleet=20,
)
START_RATE = 11.0
"""Requests per second and server for which a run begins with warm servers."""


@dataclasses.dataclass(frozen=True)
class Contestant:
    """An autoscaler and the values of its target that are swept."""

    unit: str
    targets: tuple[float, ...]
    make: Callable[[float, service.Setup], service.Policy]


def _bounded(
    policy: Callable[[float, int, int], service.Policy],
) -> Callable[[float, service.Setup], service.Policy]:
    return lambda target, setup: policy(target, setup.min_replicas, setup.max_replicas)


OURS = "gpufleet"
CONTESTANTS: Mapping[str, Contestant] = {
    OURS: Contestant(ours.UNIT, ours.TARGETS, ours.make),
    "HPA": Contestant("ms in queue", (10, 20, 40, 60, 80, 100, 140, 200), _bounded(hpa.QueueTimeHpa)),
    "KPA": Contestant("requests in a pod", (1, 1.5, 2, 2.5, 3, 3.5, 4, 5), _bounded(kpa.Kpa)),
    "KEDA": Contestant("requests/s per server", (4, 6, 8, 9, 10, 11, 13, 15), _bounded(keda.Keda)),
    # The stock maximum of 3 would be another service: here it may use as many as the others.
    "Triton's chart": Contestant(
        "us in queue",
        (chart.STOCK_TARGET_US, 5e3, 20e3, 40e3, 60e3, 80e3, 120e3, 200e3),
        _bounded(chart.ChartHpa),
    ),
}


def _read_genai() -> loads.Load:
    """22.3 hours in four: each second is the mean of five or six."""
    return loads.read_genai(TRACES / "genai_qps.csv.gz").compress(4 * HOUR_S).scale_to(PEAK, 60)


def _read_azure() -> loads.Load:
    """The hour as it was, as many times busier."""
    return loads.read_azure(TRACES / "AzureLLMInferenceTrace_code.csv").scale_to(PEAK, 60)


LOADS: Mapping[str, Callable[[], loads.Load]] = {
    "genai_qps": _read_genai,
    "azure code": _read_azure,
    "ramp": lambda: loads.ramp(15.0, PEAK, 2 * HOUR_S),
    "on/off": lambda: loads.on_off(15.0, 0.8 * PEAK, 4 * HOUR_S),
}
ROBUST: Mapping[str, Callable[[], loads.Load]] = {
    "step": lambda: loads.step(15.0, 100.0, HOUR_S),
    "spike": lambda: loads.spike(30.0, PEAK, HOUR_S),
    "sinus": lambda: loads.sinus(15.0, PEAK, HOUR_S),
    "sawtooth": lambda: loads.sawtooth(15.0, PEAK, HOUR_S),
    "slow leak": lambda: loads.slow_leak(15.0, PEAK, HOUR_S),
    "noise": lambda: loads.constant(55.0, 2 * HOUR_S).with_noise(0.2, every_s=30),
}


@functools.lru_cache(maxsize=4)
def _load(name: str) -> loads.Load:
    return (LOADS | ROBUST)[name]()


@dataclasses.dataclass(frozen=True)
class Task:
    """One run; in the interval of `blind` Prometheus is down."""

    load: str
    name: str
    target: float
    seed: int
    blind: tuple[tuple[float, float], ...] = ()


def run(task: Task) -> tuple[Task, service.Outcome]:
    """Raises AssertionError where an invariant does not hold."""
    load = _load(task.load)
    start = math.ceil(load.rates[0] / START_RATE)
    # Only gpufleet asks for the summaries of latency; they cost the simulator a third of its time.
    setup = dataclasses.replace(
        SETUP, seed=task.seed, start_replicas=start, blind=task.blind, summaries=task.name == OURS
    )
    return task, service.run(setup, load, CONTESTANTS[task.name].make(task.target, setup))


def list_sweep(load: str) -> Iterator[Task]:
    """Seed by seed, so that a process draws the same arrivals once."""
    for seed in SEEDS:
        for name, one in CONTESTANTS.items():
            yield from (Task(load, name, target, seed) for target in one.targets)


def _gather(found: list[tuple[Task, service.Outcome]]) -> list[frontier.Point]:
    """Summed over seeds."""
    sums: dict[tuple[str, float], tuple[int, float]] = {}
    for task, outcome in found:
        violated, hours = sums.get((task.name, task.target), (0, 0.0))
        sums[task.name, task.target] = violated + outcome.violated, hours + outcome.gpu_hours
    return [frontier.Point(v, hours, name, target) for (name, target), (v, hours) in sums.items()]


def compare(load: str, found: list[tuple[Task, service.Outcome]]) -> tuple[list[report.Row], float]:
    """Prints every point; rows of the load, and the share saved."""
    points = _gather(found)
    minutes = sum(one.minutes for _, one in found) // len(points)
    joint = frontier.find(points)
    print(f"\n{load}: {minutes} minutes, {_load(load).peak:.0f} requests/s at most")
    for name, one in CONTESTANTS.items():
        for point in sorted((p for p in points if p.name == name), key=lambda p: p.target):
            mark = "*" if point in joint else " "
            print(
                f"  {mark} {name:<15}{point.target:>9g} {one.unit:<24}"
                f"{point.violations:>6.0f} violated {point.hours:>8.2f} GPU-hours"
            )
    mine = [one for one in points if one.name == OURS]
    theirs = [one for one in points if one.name != OURS]
    above = sum(any(one.is_dominated_by(other) for other in theirs) for one in mine)
    saved = frontier.find_saving(frontier.find(mine), frontier.find(theirs), FEW * minutes)
    percent = 100 * (saved or 0.0)
    print(f"    * on the joint frontier; {percent:.1f} % of GPU-hours saved at equal violations", flush=True)
    return [
        report.Row(f"{load}: our points above the frontier", above, "of 8", 0),
        report.Row(f"{load}: our GPU-hours at equal violations", 100 - percent, "%", baseline=100.0),
    ], percent


def check_robust(pool: multiprocessing.pool.Pool) -> list[report.Row]:
    """Every curve with and without an outage of Prometheus; the runs themselves assert the invariants."""
    outage = ((SETUP.warm_up_s + 1500.0, SETUP.warm_up_s + 2100.0),)
    tasks = [
        Task(load, name, one.targets[len(one.targets) // 2] if name != OURS else ours.DEFAULT, 1, blind)
        for load in ROBUST
        for name, one in CONTESTANTS.items()
        for blind in ((), outage)
        if load != "noise" or not blind
    ]
    found = pool.map(run, tasks, chunksize=1)
    print("\nother curves, each at one target: violated minutes, GPU-hours, changes")
    for task, outcome in found:
        blind = "Prometheus down 10 min" if task.blind else ""
        print(
            f"    {task.load:<10}{task.name:<15}{outcome.violated:>4}{outcome.gpu_hours:>8.2f}"
            f"{outcome.changes:>5}  {blind}"
        )
    steady = [Task("noise", OURS, ours.DEFAULT, seed) for seed in (1, 2, 3)]
    changes = [outcome.changes for _, outcome in pool.map(run, steady, chunksize=1)]
    return [report.Row("in 2 h of constant load with 20 % noise", max(changes), "changes", 1)]


def main() -> None:
    names = [name for name in LOADS if name not in ("genai_qps", "azure code") or TRACES.is_dir()]
    if len(names) < len(LOADS):
        print(f"no traces in {TRACES}: set GPUFLEET_TRACES; only made loads are compared", flush=True)
    rows: list[report.Row] = []
    poor = 0
    with multiprocessing.Pool(PROCESSES) as pool:
        for name in names:
            more, percent = compare(name, pool.map(run, list_sweep(name), chunksize=4))
            rows += more
            poor += percent < GOAL
        rows.append(report.Row(f"loads on which we save less than {GOAL:g} %", poor, f"of {len(names)}", 1))
        rows += check_robust(pool)
    rows += autoscaling_cost.measure()
    report.finish("Autoscaling: gpufleet against HPA, KPA, KEDA and the chart of Triton", rows)


if __name__ == "__main__":
    main()
