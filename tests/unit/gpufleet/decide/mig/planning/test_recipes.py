"""From options to what is done: filling, placing, room and fragmentation; and the proof of small plans."""

from __future__ import annotations

import pytest

from gpufleet.decide.mig import geometry
from gpufleet.decide.mig.planning import exact, fleet, market, planner, prices, recipes, search, values
from gpufleet.decide.mig.planning.values import Demand, Gpu
from tests import mig_fleets

H100 = mig_fleets.BY_NAME["H100-80GB-SXM"]
A30 = mig_fleets.BY_NAME["A30"]


def place(*pairs: tuple[str, int]) -> tuple[geometry.Placement, ...]:
    return tuple(geometry.Placement(profile, start) for profile, start in pairs)


@pytest.mark.parametrize(
    ("counts", "forecast", "filled"),
    [
        pytest.param({"3g.40gb": 1}, {}, {"3g.40gb": 1}, id="nothing expected"),
        pytest.param({"3g.40gb": 1}, {"1g.10gb": 1.0}, {"1g.10gb": 4, "3g.40gb": 1}, id="small ones"),
        pytest.param(
            {"4g.40gb": 1}, {"1g.10gb": 1.0, "3g.40gb": 1.0}, {"3g.40gb": 1, "4g.40gb": 1}, id="large first"
        ),
        pytest.param({}, {"1g.6gb": 1.0}, {}, id="profile of another model"),
        pytest.param({"3g.40gb": 1}, {"3g.39gb": 1.0}, {"3g.40gb": 2}, id="another spelling"),
    ],
)
def test_spare_room_is_cut_for_the_forecast(
    counts: dict[str, int], forecast: dict[str, float], filled: dict[str, int]
) -> None:
    assert recipes.fill(H100, counts, forecast) == filled


def test_new_instances_are_placed_where_they_spoil_least() -> None:
    assert recipes.place(H100, {"1g.10gb": 1}, (), {"4g.40gb": 1.0}) == place(("1g.10gb", 6))
    assert recipes.place(
        H100, {"1g.10gb": 1, "3g.40gb": 1}, place(("1g.10gb", 4)), {"1g.20gb": 1.0}
    ) == place(("3g.40gb", 0), ("1g.10gb", 5))


@pytest.mark.parametrize(
    ("placements", "forecast", "share"),
    [
        pytest.param((), {"7g.80gb": 1.0}, 0.0, id="empty"),
        pytest.param(place(("1g.10gb", 0)), {"7g.80gb": 1.0}, 7 / 8, id="all of the rest"),
        pytest.param(place(("1g.10gb", 0)), {"3g.40gb": 1.0}, 3 / 8, id="half is reached"),
        pytest.param(place(("1g.10gb", 0)), {"3g.40gb": 1.0, "7g.80gb": 1.0}, 5 / 8, id="a mix"),
        pytest.param(place(("7g.80gb", 0)), {"1g.10gb": 1.0}, 0.0, id="full"),
        pytest.param(place(("1g.10gb", 0)), {"1g.6gb": 1.0}, 0.0, id="nothing of this model"),
    ],
)
def test_what_is_free_and_of_no_use(
    placements: tuple[geometry.Placement, ...], forecast: dict[str, float], share: float
) -> None:
    assert recipes.stranded_share(H100, placements, forecast) == pytest.approx(share)


def test_fragmentation_of_a_fleet_is_the_mean() -> None:
    held = tuple(values.Instance(one) for one in place(("1g.10gb", 0)))
    gpus = [Gpu("n", 0, H100, held), Gpu("n", 1, H100)]
    assert fleet.measure_fragmentation(gpus, {"7g.80gb": 1.0}) == pytest.approx(7 / 16)
    assert fleet.measure_fragmentation([], {"7g.80gb": 1.0}) == 0.0


def test_room_is_what_the_forecast_can_still_use() -> None:
    forecast = {"3g.40gb": 1.0, "7g.80gb": 2.0}
    assert recipes.find_room(H100, (), forecast) == 8 + 16
    assert recipes.find_room(H100, place(("1g.10gb", 0)), forecast) == 4


def solve_small(steps: int) -> tuple[search.Choice, search.Counts | None]:
    """Two GPUs for six small and two large slices, from the choice to stay."""
    demands = [Demand("1g.10gb", 6), Demand("4g.40gb", 2)]
    wanted = market.Market([H100], demands, {})
    found = fleet.Fleet(wanted, values.Policy(), planner.mix(demands), [Gpu("n", 0, H100), Gpu("n", 1, H100)],
                        is_large=False)  # fmt: skip
    groups = found.groups()
    relaxed = prices.relax(wanted, groups)
    assert relaxed.bound.value == pytest.approx(8, abs=1e-3)
    counts = exact.find_best(wanted, groups, relaxed, 0.0, steps)
    return search.Choice(wanted, groups, counts), counts


def test_the_exact_search_finds_the_best() -> None:
    choice, counts = solve_small(10_000)
    assert counts is not None
    assert choice.served == 8


def test_the_exact_search_ends_with_its_work() -> None:
    assert solve_small(1)[1] is None


def test_freed_prices_prove_the_bound_of_a_smaller_fleet() -> None:
    wanted = market.Market([A30], [Demand("4g.24gb", 9)], {})
    found = fleet.Fleet(wanted, values.Policy(), {}, [Gpu("n", 0, A30), Gpu("n", 1, A30)], is_large=False)
    bound = prices.relax(wanted, found.groups()).bound
    assert bound.value == pytest.approx(2, abs=1e-3)
    gone = [prices.Group(found.choices[0], 1)]
    assert bound.replace(wanted, wanted, gone, []).value == pytest.approx(1, abs=1e-3)
