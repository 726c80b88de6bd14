"""The planner's parts, each against something simpler: by hand, by brute force, or by HiGHS."""

from __future__ import annotations

import itertools
import random

import hypothesis
import pytest
from hypothesis import strategies

from gpufleet.decide.mig import devices, geometry, layouts
from gpufleet.decide.mig.planning import firstfit, ilp, market, options, planner, simplex, values
from gpufleet.decide.mig.planning.values import Demand, Gpu, Grain, Instance
from tests import mig_checks, mig_fleets

H100 = mig_fleets.BY_NAME["H100-80GB-SXM"]
A100 = mig_fleets.BY_NAME["A100-80GB"]
A30 = mig_fleets.BY_NAME["A30"]
RTX = mig_fleets.BY_NAME["RTX-PRO-6000"]
SEEDS = strategies.integers(0, 2**32)


def test_a_program_by_hand() -> None:
    """max 3x + 5y, x ≤ 4, 2y ≤ 12, 3x + 2y ≤ 18: 36 at (2, 6)."""
    program = simplex.Program([4, 12, 18])
    program.add(3, [1, 0, 3])
    program.add(5, [0, 2, 2])
    program.solve()
    assert program.value == pytest.approx(36)
    assert program.solution() == {0: pytest.approx(2), 1: pytest.approx(6)}
    assert program.prices() == pytest.approx([0, 1.5, 1])


def test_a_column_that_comes_later_is_as_one_from_the_start() -> None:
    program = simplex.Program([4, 12, 18])
    program.add(3, [1, 0, 3])
    program.solve()
    assert program.value == pytest.approx(12)
    program.add(5, [0, 2, 2])
    program.solve()
    assert program.value == pytest.approx(36)


@hypothesis.given(SEEDS)
def test_programs_are_solved_as_by_highs(seed: int) -> None:
    import highspy

    rng = random.Random(seed)
    rows, columns = rng.randint(1, 6), rng.randint(1, 8)
    limits = [rng.choice((0.0, 1.0, 5.0, 7.5)) for _ in range(rows)] + [10.0]
    program = simplex.Program(limits)
    judge = highspy.Highs()
    judge.silent()
    entries = [[rng.choice((-1.0, 0.0, 1.0, 2.0)) for _ in range(rows)] + [1.0] for _ in range(columns)]
    for column in entries:
        gain = rng.choice((0.0, 1.0, 3.0))
        program.add(gain, column)
        judge.addVariable(0.0, judge.inf, gain)
    for row, limit in enumerate(limits):
        judge.addRow(-judge.inf, limit, columns, list(range(columns)), [column[row] for column in entries])
    program.solve()
    judge.maximize()
    assert program.value == pytest.approx(judge.getObjectiveValue(), abs=1e-6)


def accepts(*names: str) -> frozenset[str]:
    return frozenset(names)


DEMANDS = (
    Demand("1g.10gb", 3, 2.0),
    Demand("1g.10gb", 2, 5.0, accepts("A100-80GB")),
    Demand("1g.10gb", 2, 1.0, accepts("H100-80GB-SXM", "A100-80GB")),
    Demand("3g.40gb", 2, 4.0),
)


@pytest.mark.parametrize(
    ("h100", "a100", "served"),
    [
        pytest.param(1, 0, [1, 0, 0, 0], id="not for the class"),
        pytest.param(0, 1, [0, 1, 0, 0], id="the heaviest"),
        pytest.param(0, 4, [2, 2, 0, 0], id="then the next"),
        pytest.param(4, 4, [3, 2, 2, 0], id="all"),
    ],
)
def test_who_gets_the_slices(h100: int, a100: int, served: list[int]) -> None:
    found = market.Market([H100, A100], DEMANDS, {})
    supply = [0] * found.goods
    supply[found.good_of["H100-80GB-SXM", "1g.10gb"]] += h100
    supply[found.good_of["A100-80GB", "1g.10gb"]] += a100
    assert [one.served for one in found.outcomes(supply)] == served


def test_slices_that_the_same_demands_accept_are_one_good() -> None:
    found = market.Market([H100, A100], DEMANDS, {})
    assert found.good_of["H100-80GB-SXM", "3g.40gb"] == found.good_of["A100-80GB", "3g.40gb"]
    assert found.good_of["H100-80GB-SXM", "1g.10gb"] != found.good_of["A100-80GB", "1g.10gb"]
    assert ("H100-80GB-SXM", "7g.80gb") not in found.good_of


def brute_worth(kinds: list[market.Kind], supply: list[int]) -> float:
    """Weighted demand served, by trying every good for every slice in turn."""
    units = [(kind.weight, sorted(kind.accepts)) for kind in kinds for _ in range(kind.count)]
    best = 0.0
    for choice in itertools.product(*([None, *goods] for _, goods in units)):
        used = [sum(one == good for one in choice) for good in range(len(supply))]
        if all(a <= b for a, b in zip(used, supply, strict=True)):
            best = max(best, sum(w for (w, _), one in zip(units, choice, strict=True) if one is not None))
    return best


@hypothesis.settings(max_examples=60)
@hypothesis.given(SEEDS)
def test_the_heaviest_first_serves_most_where_sets_are_nested(seed: int) -> None:
    rng = random.Random(seed)
    sets = [None, accepts("A100-80GB"), accepts("H100-80GB-SXM"), accepts("H100-80GB-SXM", "A100-80GB")]
    demands = [
        Demand("1g.10gb", rng.randint(1, 2), rng.choice((1.0, 2.0, 3.0)), rng.choice(sets)) for _ in range(3)
    ]
    found = market.Market([A30, A100, H100], demands, {})
    supply = [rng.randint(0, 3) for _ in range(found.goods)]
    assert found.worth(supply) == brute_worth(found.kinds, supply)


def test_sets_that_cross_are_cut_and_never_over_counted() -> None:
    demands = [
        Demand("1g.10gb", 2, 2.0, accepts("A100-80GB", "H100-80GB-SXM")),
        Demand("1g.10gb", 2, 1.0, accepts("H100-80GB-SXM", "H100-80GB-PCIE")),
    ]
    pcie = mig_fleets.BY_NAME["H100-80GB-PCIE"]
    gpus = [Gpu("n", index, model) for index, model in enumerate((A100, H100, pcie))]
    found = planner.plan(gpus, demands)
    mig_checks.check(gpus, found)
    assert found.served == 6


@pytest.mark.parametrize("model", [H100, A30, RTX], ids=lambda model: model.name)
def test_tables_hold_the_pareto_counts_of_the_layouts(model: devices.DeviceModel) -> None:
    rng = random.Random(1)
    names = [profile.name for profile in model.profiles]
    cuts = [cut.layout.placements for cut in layouts.enumerate_cuts(model)]
    wanted = market.Market([model], [Demand(name, 1) for name in names], {})
    tables = options.Tables(wanted)
    for stay in [(), *rng.sample(cuts, 25)]:
        held = geometry.Layout(stay).counts
        found = set()
        for cut in layouts.enumerate_cuts(model, names, stay):
            counts = {name: number - held.get(name, 0) for name, number in cut.layout.counts.items()}
            found.add(tuple(sorted((name, number) for name, number in counts.items() if number)))
        largest = {
            one
            for one in found
            if not any(
                tuple(sorted((dict(one) | {name: dict(one).get(name, 0) + 1}).items())) in found
                for name in names
            )
        }
        assert {tuple(sorted(one)) for one in tables.find(model, stay).counts} == largest


@hypothesis.settings(max_examples=25)
@hypothesis.given(SEEDS, strategies.integers(1, 8))
def test_plans_of_small_fleets_reach_the_optimum_of_highs(seed: int, size: int) -> None:
    rng = random.Random(seed)
    gpus = mig_fleets.build_fleet(rng, size, rng.uniform(0, 0.9), rng.choice(list(Grain)))
    demands = mig_fleets.build_demands(rng, gpus, rng.uniform(0.2, 1.5))
    found = planner.plan(gpus, demands)
    solved = ilp.solve(gpus, demands, 10.0)
    assert solved.served - 1e-6 <= found.bound
    assert 0.98 * solved.served <= found.served <= solved.bound + 1e-6


def test_the_yardstick_by_hand() -> None:
    held = (Instance(geometry.Placement("1g.10gb", 0), busy=True, movable=True),)
    gpus = [Gpu("n", 0, H100, held), Gpu("n", 1, H100, held)]
    solved = ilp.solve(gpus, [Demand("7g.80gb", 2, 3.0), Demand("3g.40gb", 1)], 10.0)
    assert (solved.served, solved.bound, solved.gap) == (pytest.approx(4), pytest.approx(4), pytest.approx(0))


def test_first_fit_takes_the_lowest_start_of_the_first_gpu() -> None:
    gpus = [Gpu("n", 0, H100), Gpu("n", 1, H100)]
    served = firstfit.serve(gpus, [Demand("1g.10gb", 1), Demand("4g.40gb", 2), Demand("3g.40gb", 1)])
    assert [one.served for one in served] == [1, 1, 1]


def test_first_fit_uses_idle_slices_of_frozen_gpus() -> None:
    held = (
        Instance(geometry.Placement("1g.10gb", 0), busy=True),
        Instance(geometry.Placement("1g.10gb", 1)),
    )
    assert [one.served for one in firstfit.serve([Gpu("n", 0, H100, held)], [Demand("1g.10gb", 3)])] == [1]


def test_counts_that_do_not_fit_are_no_option() -> None:
    held = (Instance(geometry.Placement("1g.10gb", 0), busy=True),)
    gpu = values.Gpu("n", 0, H100, held, Grain.INSTANCE)
    wanted = market.Market([H100], [Demand("4g.40gb", 1), Demand("3g.40gb", 2)], {})
    found = options.build(gpu, options.Tables(wanted), wanted, values.Policy(), is_large=False)
    assert {found.option(number).supply for number in range(found.firsts[-1])} == {
        (),
        ((wanted.good_of["H100-80GB-SXM", "3g.40gb"], 1),),
    }
