"""Random MIG fleets for benchmarks and properties: every family, busy by a share, with demand that waits."""

from __future__ import annotations

import random
from collections.abc import Sequence

from gpufleet.decide.mig import catalogue, devices, geometry
from gpufleet.decide.mig.planning import values

BY_NAME = {model.name: model for model in catalogue.default().models if model.is_mig_capable}
A7 = ("A100-40GB", "A100-80GB", "H100-80GB-SXM", "H200", "B200")
ALL = (*A7, "A30", "RTX-PRO-6000")


def build_gpu(
    rng: random.Random,
    node: str,
    index: int,
    model: devices.DeviceModel,
    busy: float,
    grain: values.Grain,
    movable: float = 0.3,
) -> values.Gpu:
    """A GPU cut at random, a share of its slices busy and a share of those movable."""
    placed: list[geometry.Placement] = []
    for _ in range(rng.choice((0, 1, 3, 8))):
        profile = rng.choice(model.profiles)
        if starts := geometry.legal_starts(model, placed, profile.name):
            placed.append(geometry.Placement(profile.name, rng.choice(starts)))
    held = [
        values.Instance(
            one, is_busy := rng.random() < busy, is_busy and rng.random() < movable, rng.choice((1.0, 2.0))
        )
        for one in sorted(placed, key=lambda one: one.start)
    ]
    return values.Gpu(node, index, model, tuple(held), grain)


def build_fleet(
    rng: random.Random, size: int, busy: float, grain: values.Grain, models: Sequence[str] = ALL
) -> list[values.Gpu]:
    """`size` GPUs, up to eight of one model on a node."""
    gpus: list[values.Gpu] = []
    while len(gpus) < size:
        model = BY_NAME[rng.choice(models)]
        node = f"n{len(gpus):05}"
        count = min(rng.choice((1, 2, 4, 8)), size - len(gpus))
        gpus += [build_gpu(rng, node, index, model, busy, grain) for index in range(count)]
    return gpus


def build_demands(rng: random.Random, gpus: Sequence[values.Gpu], load: float) -> list[values.Demand]:
    """Slices that wait, in the order of a queue, for about `load` times the fleet's memory units."""
    models = sorted({gpu.model.name for gpu in gpus})
    units = sum(gpu.model.family.memory_units for gpu in gpus if gpu.model.family) * load
    demands: list[values.Demand] = []
    while units > 0:
        model = BY_NAME[rng.choice(models)]
        profile = rng.choice(model.profiles)
        count = rng.randint(1, max(1, len(gpus) // 4))
        size = profile.shape.size
        weight = rng.choice((1.0, float(size), rng.choice((1.0, 2.0, 5.0))))
        accepted = frozenset({model.name}) if rng.random() < 0.3 else None
        demands.append(values.Demand(profile.name, count, weight, accepted))
        units -= size * count
    return demands
