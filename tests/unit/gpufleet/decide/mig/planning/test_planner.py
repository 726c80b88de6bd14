"""Plans: small fleets by hand, and what holds for any fleet."""

from __future__ import annotations

import random

import hypothesis
import pytest
from hypothesis import strategies

from gpufleet.decide.mig import geometry
from gpufleet.decide.mig.planning import explain, fleet, planner, values
from gpufleet.decide.mig.planning.values import Demand, Gpu, Grain, Instance, Policy
from tests import mig_checks, mig_fleets

H100 = mig_fleets.BY_NAME["H100-80GB-SXM"]
A100 = mig_fleets.BY_NAME["A100-80GB"]
A30 = mig_fleets.BY_NAME["A30"]


def gpu(*held: str, node: str = "n0", index: int = 0, grain: Grain = Grain.GPU, model=H100) -> Gpu:  # type: ignore[no-untyped-def]
    """A GPU by its slices: `3g.40gb@4` idle, with ! busy and pinned, with ~ busy and movable."""
    instances = []
    for text in held:
        profile, start = text.rstrip("!~").split("@")
        busy, movable = text[-1] in "!~", text[-1] == "~"
        instances.append(Instance(geometry.Placement(profile, int(start)), busy, movable))
    return Gpu(node, index, model, tuple(instances), grain)


def plan(gpus: list[Gpu], *demands: Demand, policy: Policy | None = None) -> values.Plan:
    found = planner.plan(gpus, demands, policy)
    mig_checks.check(gpus, found)
    return found


def counts(found: values.Plan) -> dict[str, dict[str, int]]:
    return {f"{one.node}/{one.index}": one.recipe.after.counts for one in found.changes}


def test_an_empty_gpu_is_cut_for_what_waits() -> None:
    found = plan([gpu()], Demand("4g.40gb", 1), Demand("3g.40gb", 1))
    assert counts(found) == {"n0/0": {"3g.40gb": 1, "4g.40gb": 1}}
    assert (found.served, found.bound, found.reason) == (2, 2, explain.REPARTITION)
    assert found.changes[0].reason == "makes 1 × 3g.40gb, 1 × 4g.40gb"


def test_small_slices_do_not_crowd_out_large_ones() -> None:
    """Greedy would cut one GPU into six small slices and lose one."""
    found = plan([gpu(index=0), gpu(index=1)], Demand("1g.10gb", 6), Demand("4g.40gb", 2))
    assert found.served == 8


def test_idle_slices_serve_before_anything_is_cut() -> None:
    found = plan([gpu("1g.10gb@0", "1g.10gb@1"), gpu(index=1)], Demand("1g.10gb", 2))
    assert (found.changes, found.reason, found.served) == ((), explain.ALL_SERVED, 2)


@pytest.mark.parametrize(
    ("gpus", "demand"),
    [
        pytest.param([gpu("1g.10gb@0!")], Demand("3g.40gb", 1), id="pinned, the rest of the GPU is free"),
        pytest.param([gpu("1g.10gb@0!", "1g.10gb@1")], Demand("2g.20gb", 1), id="pinned beside idle"),
        pytest.param([gpu("3g.40gb@0!", grain=Grain.INSTANCE)], Demand("4g.40gb", 1), id="no legal start"),
        pytest.param([gpu(model=A30)], Demand("3g.40gb", 1), id="profile of another model"),
        pytest.param([], Demand("3g.40gb", 1), id="no GPUs"),
        pytest.param([gpu()], Demand("3g.40gb", 2, models=frozenset({"A100-80GB"})), id="another class"),
        pytest.param([gpu("7g.80gb@0~")], Demand("1g.10gb", 7), id="a mover has nowhere to go"),
    ],
)
def test_nothing_helps(gpus: list[Gpu], demand: Demand) -> None:
    found = plan(gpus, demand)
    assert (found.changes, found.served, found.reason) == ((), 0, explain.NOTHING_HELPS)
    assert f"lacking {demand.count} × {demand.profile}" in found.message


def test_nothing_waits() -> None:
    found = plan([gpu("1g.10gb@0")])
    assert (found.reason, found.message) == (explain.NO_DEMAND, "nothing waits for a slice")


def test_instance_grain_creates_beside_what_is_busy() -> None:
    found = plan([gpu("1g.10gb@3!", grain=Grain.INSTANCE)], Demand("3g.40gb", 1))
    (change,) = found.changes
    assert change.recipe.created == (geometry.Placement("3g.40gb", 4),)
    assert change.recipe.destroyed == ()


def test_instance_grain_creates_only_what_waits() -> None:
    found = plan([gpu(grain=Grain.INSTANCE), gpu(grain=Grain.INSTANCE, index=1)], Demand("1g.10gb", 3))
    assert counts(found) == {"n0/0": {"1g.10gb": 3}}


def test_a_whole_gpu_is_filled_for_the_forecast() -> None:
    policy = Policy(forecast={"2g.20gb": 1.0})
    found = plan([gpu()], Demand("3g.40gb", 1), policy=policy)
    assert counts(found) == {"n0/0": {"2g.20gb": 2, "3g.40gb": 1}}


def test_moves_join_scattered_pods() -> None:
    gpus = [gpu("1g.10gb@0~", index=0), gpu("1g.10gb@0~", index=1)]
    found = plan(gpus, Demand("7g.80gb", 1))
    assert (found.served, found.moved) == (1, 2)


def test_what_may_stay_is_not_moved() -> None:
    gpus = [gpu("1g.10gb@0~", index=0), gpu("1g.20gb@0", index=1)]
    found = plan(gpus, Demand("3g.40gb", 2))
    assert counts(found) == {"n0/1": {"3g.40gb": 2}}
    assert found.moved == 0


def test_a_pod_that_runs_is_not_given_up_for_heavier_ones() -> None:
    found = plan([gpu("1g.10gb@0~")], Demand("7g.80gb", 1, weight=50.0))
    assert found.changes == ()


@pytest.mark.parametrize(
    ("blackout_s", "changes"),
    [
        pytest.param(0.0, 1, id="free"),
        pytest.param(400.0, 1, id="pays"),
        pytest.param(600.0, 0, id="does not"),
    ],
)
def test_a_change_has_to_pay_for_its_blackout(blackout_s: float, changes: int) -> None:
    """Seven slices go for a gain of one: after 3600 s / 7 = 514 s of blackout that is no gain."""
    held = [f"1g.10gb@{start}" for start in range(7)]
    found = plan([gpu(*held)], Demand("3g.40gb", 1), policy=Policy(blackout_s, 3600.0))
    assert len(found.changes) == changes


def test_changes_gather_on_few_nodes() -> None:
    gpus = [gpu(node=f"n{node}", index=index) for node in range(4) for index in range(1 + node)]
    found = plan(gpus, Demand("7g.80gb", 4))
    assert found.nodes == ("n3",)


def test_heavier_demand_goes_first() -> None:
    found = plan([gpu()], Demand("3g.40gb", 2, weight=1.0), Demand("7g.80gb", 1, weight=3.0))
    assert [one.served for one in found.outcomes] == [0, 1]


def test_a_class_is_kept_for_those_who_need_it() -> None:
    demands = (Demand("7g.80gb", 1), Demand("7g.80gb", 1, models=frozenset({"A100-80GB"})))
    found = plan([gpu(), gpu(index=1, model=A100)], *demands)
    assert [one.served for one in found.outcomes] == [1, 1]


def test_another_spelling_is_the_same_profile() -> None:
    assert plan([gpu()], Demand("3g.39gb", 2)).served == 2


def test_equal_demands_share_in_their_order() -> None:
    found = plan([gpu()], Demand("3g.40gb", 1), Demand("3g.40gb", 2))
    assert [one.served for one in found.outcomes] == [1, 1]


def random_fleet(seed: int, size: int) -> tuple[list[Gpu], list[Demand]]:
    rng = random.Random(seed)
    models = rng.choice([mig_fleets.ALL, ("A30",), ("H100-80GB-SXM", "A100-80GB")])
    gpus = mig_fleets.build_fleet(rng, size, rng.uniform(0, 0.9), rng.choice(list(Grain)), models)
    return gpus, mig_fleets.build_demands(rng, gpus, rng.uniform(0.1, 1.5))


SEEDS = strategies.integers(0, 2**32)
SIZES = strategies.integers(1, 10)


@hypothesis.settings(max_examples=40)
@hypothesis.given(SEEDS, SIZES)
def test_every_plan_keeps_the_rules(seed: int, size: int) -> None:
    gpus, demands = random_fleet(seed, size)
    found = plan(gpus, *demands)
    assert found.served >= mig_checks.serve_first_fit(gpus, demands) - 1e-9
    assert found.served >= found.without


@hypothesis.settings(max_examples=40)
@hypothesis.given(SEEDS, SIZES)
def test_the_same_demand_gives_no_further_change(seed: int, size: int) -> None:
    gpus, demands = random_fleet(seed, size)
    after = fleet.carry_out(gpus, plan(gpus, *demands))
    assert plan(list(after), *demands).changes == ()


@hypothesis.settings(max_examples=30)
@hypothesis.given(SEEDS, SIZES, strategies.floats(0, 3000))
def test_a_plan_is_worth_its_blackouts(seed: int, size: int, blackout_s: float) -> None:
    gpus, demands = random_fleet(seed, size)
    found = plan(gpus, *demands, policy=Policy(blackout_s))
    cost = sum(one.recipe.cost for one in found.changes)
    assert not found.changes or found.served - cost > found.without


@hypothesis.settings(max_examples=30)
@hypothesis.given(SEEDS, SIZES)
def test_one_node_may_change(seed: int, size: int) -> None:
    gpus, demands = random_fleet(seed, size)
    rng = random.Random(seed)
    plans = planner.Planner(gpus, demands)
    plans.plan()
    for _ in range(3):
        node = rng.choice(gpus).node
        old = [one for one in gpus if one.node == node]
        new = [mig_fleets.build_gpu(rng, node, one.index, one.model, 0.5, one.grain) for one in old]
        gpus = [one for one in gpus if one.node != node] + new
        mig_checks.check(gpus, plans.replace_node(node, new))


@hypothesis.settings(max_examples=30)
@hypothesis.given(SEEDS, SIZES)
def test_fleets_that_count_as_large_keep_the_rules_too(seed: int, size: int) -> None:
    gpus, demands = random_fleet(seed, size)
    effort = planner.Effort(large_from=1)
    found = planner.plan(gpus, demands, effort=effort)
    mig_checks.check(gpus, found)
    after = fleet.carry_out(gpus, found)
    mig_checks.check(after, planner.plan(after, demands, effort=effort))
    assert found.served >= found.without


def test_what_was_left_out_is_made_when_it_is_needed_after_all() -> None:
    """Three slices wait, one GPU has room for seven: the others come when the second GPU goes."""
    gpus = [
        gpu(node="a", grain=Grain.INSTANCE),
        gpu("1g.10gb@0", "1g.10gb@1", node="b", grain=Grain.INSTANCE),
    ]
    plans = planner.Planner(gpus, [Demand("1g.10gb", 3)])
    first = plans.plan()
    assert (first.served, first.without) == (3, 2)
    assert plans.replace_node("b", []).served == 3


def test_a_node_that_goes_takes_its_part_along() -> None:
    plans = planner.Planner([gpu(node="a"), gpu(node="b")], [Demand("7g.80gb", 2)])
    assert plans.plan().served == 2
    left = plans.replace_node("a", [])
    assert (left.served, left.nodes) == (1, ("b",))
    assert plans.replace_node("a", [gpu(node="a")]).served == 2


def test_a_node_with_a_new_model_is_planned_with_all() -> None:
    plans = planner.Planner([gpu(node="a")], [Demand("7g.80gb", 1), Demand("4g.24gb", 1)])
    assert plans.plan().served == 1
    assert plans.replace_node("b", [gpu(node="b", model=A30)]).served == 2


def test_equal_input_gives_equal_plans() -> None:
    rng = random.Random(5)
    gpus = mig_fleets.build_fleet(rng, 40, 0.4, Grain.INSTANCE)
    demands = mig_fleets.build_demands(rng, gpus, 1.0)
    assert planner.plan(gpus, demands) == planner.plan(list(gpus), list(demands))
