"""What every MIG plan has to keep, checked on the simulated hardware; for tests and benchmarks."""

from __future__ import annotations

import collections
from collections.abc import Sequence

from gpufleet.decide.mig import geometry
from gpufleet.decide.mig.planning import firstfit, fleet, values
from gpufleet.simgpu import device


def check(gpus: Sequence[values.Gpu], plan: values.Plan) -> None:
    """Raises AssertionError where the plan breaks one of the rules."""
    by_key = {(gpu.node, gpu.index): gpu for gpu in gpus}
    assert len({(one.node, one.index) for one in plan.changes}) == len(plan.changes)
    seen: set[tuple[object, ...]] = set()
    for change in plan.changes:
        gpu = by_key[change.node, change.index]
        key = (gpu.model.name, gpu.grain, gpu.instances, id(change.recipe))
        if key not in seen:
            seen.add(key)
            _check_change(gpu, change.recipe)
    after = fleet.carry_out(gpus, plan)
    assert _count_busy(after) == _count_busy(gpus), "a moved pod has no slice again"
    assert plan.served <= plan.bound + 1e-6
    check_served(after, plan.outcomes)


def _check_change(gpu: values.Gpu, recipe: values.Recipe) -> None:
    assert not gpu.is_frozen, "a GPU with a pinned instance is changed"
    assert not {one.placement for one in gpu.instances if one.is_pinned} & set(recipe.destroyed)
    assert recipe.before == geometry.Layout.of(one.placement for one in gpu.instances)
    assert geometry.is_legal(gpu.model, recipe.after.placements)
    destroyed = [one for one in gpu.instances if one.placement in recipe.destroyed]
    assert len(destroyed) == len(recipe.destroyed)
    assert recipe.moved == sum(one.busy for one in destroyed)
    assert recipe.created or recipe.destroyed
    assert carry_out_on_hardware(gpu, recipe) == recipe.after


def carry_out_on_hardware(gpu: values.Gpu, recipe: values.Recipe) -> geometry.Layout:
    """The layout that a simulated GPU has in the end; it refuses what hardware refuses."""
    hardware = device.Gpu(gpu.model, gpu.model.products[0], gpu.index, "GPU-0", mig_enabled=True)
    held = {one.placement: hardware.create_instance(one.placement.profile, one.placement.start).uuid
            for one in gpu.instances}  # fmt: skip
    hardware.set_busy([held[one.placement] for one in gpu.instances if one.is_pinned])
    if gpu.grain is values.Grain.GPU:
        hardware.clear()
    else:
        for placement in recipe.destroyed:
            hardware.destroy_instance(held[placement])
    for placement in recipe.created:
        start = placement.start if gpu.grain is values.Grain.INSTANCE else None
        hardware.create_instance(placement.profile, start)
    return hardware.layout


def check_served(after: Sequence[values.Gpu], outcomes: Sequence[values.Outcome]) -> None:
    """That what is told as served has idle slices, each counted once: a matching found slice by slice."""
    idle: collections.Counter[tuple[str, str]] = collections.Counter()
    models = {gpu.model.name: gpu.model for gpu in after}
    for gpu in after:
        idle.update((gpu.model.name, one.placement.profile) for one in gpu.instances if not one.busy)
    given: dict[tuple[str, str], collections.Counter[int]] = collections.defaultdict(collections.Counter)
    accepts = []
    for number, outcome in enumerate(outcomes):
        demand = outcome.demand
        assert 0 <= outcome.served <= demand.count
        accepts.append(
            [
                (name, model.profiles_by_name[demand.profile].name)
                for name, model in sorted(models.items())
                if demand.profile in model.profiles_by_name
                and (demand.models is None or name in demand.models)
            ]
        )
        left = outcome.served
        for key in accepts[number]:
            taken = min(left, idle[key] - given[key].total())
            given[key][number] += taken
            left -= taken
        while left:
            assert _make_room(number, accepts, idle, given, set()), f"{demand} is over-counted by {left}"
            left -= 1


def _make_room(
    number: int,
    accepts: Sequence[Sequence[tuple[str, str]]],
    idle: collections.Counter[tuple[str, str]],
    given: dict[tuple[str, str], collections.Counter[int]],
    tried: set[tuple[str, str]],
) -> bool:
    """Give one more slice to a demand, if need be by letting another take a different one."""
    for key in accepts[number]:
        if key in tried:
            continue
        tried.add(key)
        if given[key].total() < idle[key]:
            given[key][number] += 1
            return True
        for other in [one for one, count in given[key].items() if count and one != number]:
            if _make_room(other, accepts, idle, given, tried):
                given[key][other] -= 1
                given[key][number] += 1
                return True
    return False


def serve_first_fit(gpus: Sequence[values.Gpu], demands: Sequence[values.Demand]) -> float:
    """Weighted demand that lowest-start first-fit serves, in the better of two orders: queue and weight."""
    by_weight = sorted(demands, key=lambda demand: -demand.weight)
    return max(
        sum(one.served * one.demand.weight for one in firstfit.serve(gpus, order))
        for order in (demands, by_weight)
    )


def _count_busy(gpus: Sequence[values.Gpu]) -> collections.Counter[tuple[str, str]]:
    return collections.Counter(
        (gpu.model.name, one.placement.profile) for gpu in gpus for one in gpu.instances if one.busy
    )
