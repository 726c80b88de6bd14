"""Gangs: places in a large fleet, decisions in Kueue's baseline shape, a random life. `make bench-training`.

Times are those of the processor: decisions are one thread, and whoever measures seldom has the machine alone.
"""

from __future__ import annotations

import dataclasses
import os
import random
import statistics
import time

from gpufleet.decide.placement import booking, brakes
from gpufleet.decide.placement.gangs import ground as grounds
from gpufleet.decide.placement.gangs import need as needs
from gpufleet.decide.placement.gangs import tree as trees
from gpufleet.state import fleet
from tests import builders, gang_world
from tests.bench import report, training_shape
from tests.builders import GPU

GPUS_EACH, NODES = 8, 3000
LEVELS = ("example.com/zone", "example.com/block", "example.com/rack", "example.com/nvlink")
SIZES = (120 * 8, 120, 24, 4)
"""Nodes of one domain of each level."""
GANGS = 400
WISHES = (trees.ANYWHERE, *(trees.Ask(required=level) for level in range(4)), trees.Ask(preferred=2))
STEPS = int(os.environ.get("BENCH_STEPS", "10000"))
LIMITS = brakes.Limits(preemption="Active", minimum_runtime_s=30.0)
PUBLISHED_WORKLOADS_PER_S = 42.7
"""Kueue's own baseline, on its machine, whole runner and API server included."""


def _build_node(number: int, rng: random.Random) -> tuple[fleet.Node, int]:
    """A node, and how many of its devices are free."""
    labels = {level: f"{level[-4:]}-{number // size}" for level, size in zip(LEVELS, SIZES, strict=True)}
    made = builders.make_node(f"node-{number:05}", {GPU: GPUS_EACH})
    free = rng.choice((0, 0, 0, 1, 2, 4, 8, 8))
    return dataclasses.replace(made, labels={**made.labels, **labels}), free


def _measure_placement() -> list[report.Row]:
    """Each gang against the same fleet, of which two thirds are in use; the tree is built once a pass."""
    rng = random.Random(1)
    built = [_build_node(number, rng) for number in range(NODES)]
    pods = [
        builders.make_pod(f"p{node.name}", node=node.name, phase="Running", requests={GPU: GPUS_EACH - free})
        for node, free in built
        if free < GPUS_EACH
    ]
    pool = builders.make_pool(topology={"levels": list(LEVELS)})
    view = builders.make_snapshot([node for node, _ in built], pods, pools=[pool])
    started_s = time.process_time()
    books = booking.Books(view)
    ground = grounds.Ground(view, books)
    assigned = builders.make_assigned(GPUS_EACH, "a100")
    ground.tree_of(assigned)
    begun_ms = 1000 * (time.process_time() - started_s)
    took_ms, placed = [], 0
    for _ in range(GANGS):
        count = rng.choice((1, 2, 4, 8))
        wish = rng.choice(
            (trees.ANYWHERE, *(trees.Ask(required=n) for n in range(4)), trees.Ask(preferred=2))
        )
        if rng.random() < 0.2:
            wish = trees.Ask(required=1, slice_level=3, slice_size=4)
        workers = rng.choice((4, 8, 16, 32, 64, 128, 512))
        job = builders.make_job(workers={"max": workers}, accelerator={"count": count})
        need = needs.Need(job, builders.make_assigned(count, "a100"), wish)
        ground.tree_of(need.assigned)
        books.version += 1  # As after another gang was given its places.
        started_s = time.process_time()
        placed += needs.find_places(need, ground.rooms(need.assigned), ground) is not None
        took_ms.append(1000 * (time.process_time() - started_s))
    p95_ms = statistics.quantiles(took_ms, n=20)[-1]
    return [
        report.Row("places for one gang on 24,000 GPUs: p95", p95_ms, "ms", goal=20.0),
        report.Row("the slowest", max(took_ms), "ms"),
        report.Row("of 400 gangs had a place", placed, "gangs"),
        report.Row("books and tree, once a pass", begun_ms, "ms"),
    ]


def _measure_decisions() -> list[report.Row]:
    found = training_shape.run()
    each_ms = 1000 * found.decide_s / found.decisions
    waits = [
        report.Row(f"mean wait of class {name}", wait_s, "s", goal=50.0 if name == "large" else None)
        for name, wait_s in sorted(found.waits_s.items())
    ]
    return [
        report.Row(
            f"one of {found.decisions} admissions", each_ms, "ms", 1.0, 1000 / PUBLISHED_WORKLOADS_PER_S
        ),
        report.Row("the slowest of all passes", 1000 * found.slowest_pass_s, "ms"),
        report.Row("all through, virtual clock (60 s of arrivals)", found.virtual_s, "s"),
        *waits,
        report.Row("longest wait of class small", found.longest_waits_s["small"], "s"),
    ]


def _measure_life() -> list[report.Row]:
    """A fault is a gang that stays half there, a device that is held twice, or a job that is lost."""
    world = gang_world.World(11, priorities={"high": 100, "middle": 10}, limits=LIMITS)
    started_s = time.process_time()
    faults = 0
    try:
        gang_world.run(world, STEPS)
    except AssertionError as error:
        faults = 1  # It ends the life.
        print(error, flush=True)
    print({reason or "Admitted": count for reason, count in sorted(world.counts.items())}, flush=True)
    return [
        report.Row(f"faults in {STEPS} random steps, {len(world.specs)} jobs", faults, "faults", goal=0.0),
        report.Row("that life", time.process_time() - started_s, "s"),
    ]


def main() -> None:
    rows = [*_measure_placement(), *_measure_decisions(), *_measure_life()]
    report.finish("Gang admission, decisions alone", rows)


if __name__ == "__main__":
    main()
