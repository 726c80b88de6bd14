"""Layouts and their numbers, against brute force over all sets of placements."""

from __future__ import annotations

import itertools

import pytest

from gpufleet.decide.mig import catalogue, devices, geometry, layouts

BY_NAME = {model.name: model for model in catalogue.default().models}
H100 = BY_NAME["H100-80GB-SXM"]
A30 = BY_NAME["A30"]
RTX = BY_NAME["RTX-PRO-6000"]
PLAIN = ("1g.10gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb")


def place(*pairs: tuple[str, int]) -> tuple[geometry.Placement, ...]:
    return tuple(geometry.Placement(profile, start) for profile, start in pairs)


def all_sets(
    model: devices.DeviceModel, names: tuple[str, ...], busy: tuple[geometry.Placement, ...] = ()
) -> list[frozenset[geometry.Placement]]:
    """Every legal set, by trying all subsets of the placements that are compatible in pairs."""
    slots = [
        geometry.Placement(name, start)
        for name in names
        for start in geometry.profile_of(model, name).shape.starts
    ]
    found: list[tuple[geometry.Placement, ...]] = [busy]
    for slot in slots:
        found += [
            (*placed, slot)
            for placed in found
            if all(geometry.is_legal(model, (slot, other)) for other in placed)
        ]
    return [frozenset(placed) for placed in found if placed and geometry.is_legal(model, placed)]


def brute_census(
    model: devices.DeviceModel, names: tuple[str, ...], busy: tuple[geometry.Placement, ...] = ()
) -> layouts.Census:
    sets = all_sets(model, names, busy)
    counts = {tuple(sorted(one.profile for one in placed)) for placed in sets}
    larger = {tuple(sorted((*one, name))) for one in counts for name in names}
    assert len(sets) == len(set(sets))
    return layouts.Census(
        layouts=len(sets),
        maximal=sum(not any(placed < other for other in sets) for placed in sets),
        multisets=len(counts),
        pareto=sum(not any(_contains(other, one) for other in counts & larger) for one in counts),
    )


def _contains(larger: tuple[str, ...], smaller: tuple[str, ...]) -> bool:
    return larger != smaller and all(larger.count(name) >= smaller.count(name) for name in smaller)


@pytest.mark.parametrize(
    ("model", "names", "busy"),
    [
        pytest.param(H100, PLAIN, (), id="H100, plain profiles"),
        pytest.param(H100, (*PLAIN[1:], "1g.20gb"), (), id="H100, double memory"),
        pytest.param(H100, ("1g.10gb+me", *PLAIN[1:]), (), id="H100, one extension"),
        pytest.param(H100, PLAIN, place(("3g.40gb", 4)), id="H100 beside 3g"),
        pytest.param(H100, ("1g.10gb", "1g.10gb+me"), place(("1g.10gb+me", 2)), id="the extension is taken"),
        pytest.param(A30, tuple(profile.name for profile in A30.profiles), (), id="A30, all"),
        pytest.param(A30, tuple(p.name for p in A30.profiles), place(("1g.6gb", 1)), id="A30 beside 1g"),
        pytest.param(
            RTX, ("1g.24gb", "1g.24gb+me.all", "1g.24gb-me", "2g.48gb", "4g.96gb"), (), id="media engines"
        ),
        pytest.param(H100, ("7g.80gb",), place(("1g.10gb", 0)), id="nothing fits"),
    ],
)
def test_the_census_is_that_of_brute_force(
    model: devices.DeviceModel, names: tuple[str, ...], busy: tuple[geometry.Placement, ...]
) -> None:
    assert layouts.count(model, names, busy) == brute_census(model, names, busy)


def test_the_figures_of_an_a7_gpu() -> None:
    """19 maximal layouts as the MIG User Guide draws them; 12 Pareto counts, of which nos lacks two."""
    assert layouts.count(H100, PLAIN) == layouts.Census(layouts=297, maximal=19, multisets=37, pareto=12)
    pareto = {
        tuple(cut.layout.counts.items())
        for cut in layouts.enumerate_cuts(H100, PLAIN)
        if cut.is_maximal
        and cut.layout.counts in ({"3g.40gb": 1, "4g.40gb": 1}, {"1g.10gb": 4, "3g.40gb": 1})
    }
    assert len(pareto) == 2


@pytest.mark.parametrize("name", ["A100-40GB", "A100-80GB", "H100-80GB-SXM", "H200", "B200", "GB300"])
def test_models_of_a_family_are_cut_in_the_same_ways(name: str) -> None:
    assert layouts.count(BY_NAME[name]) == layouts.Census(2318, 239, 127, 44)


@pytest.mark.parametrize(
    ("shape", "most"),
    [("1g", 7), ("1g+me", 1), ("1gx2", 4), ("2g", 3), ("3g", 2), ("4g", 1), ("7g", 1)],
)
def test_as_many_of_one_profile_as_nvidia_states(shape: str, most: int) -> None:
    profile = next(one for one in H100.profiles if one.shape.key == shape)
    assert (
        max(sum(cut.layout.counts.values()) for cut in layouts.enumerate_cuts(H100, [profile.name])) == most
    )


def test_maximal_cuts_are_those_of_the_geometry() -> None:
    maximal = {cut.layout for cut in layouts.enumerate_cuts(RTX) if cut.is_maximal}
    assert maximal == set(geometry.enumerate_layouts(RTX))


def test_another_spelling_of_a_profile_is_the_same_profile() -> None:
    assert layouts.count(H100, ["3g.39gb", "3g.40gb"]) == layouts.count(H100, ["3g.40gb"])


@pytest.mark.parametrize(
    ("busy", "error", "message"),
    [
        pytest.param(place(("3g.40gb", 2)), geometry.NoLayoutError, "may start at 0, 4", id="no such start"),
        pytest.param(
            place(("1g.10gb+me", 0), ("1g.10gb+me", 1)),
            geometry.NoLayoutError,
            "does not fit",
            id="+me twice",
        ),
        pytest.param(
            place(("1g.5gb", 0)), geometry.UnknownProfileError, "no MIG profile 1g.5gb", id="foreign"
        ),
    ],
)
def test_busy_instances_that_cannot_be_are_refused(
    busy: tuple[geometry.Placement, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        layouts.enumerate_cuts(H100, None, busy)


@pytest.mark.parametrize(
    ("model", "occupied", "profile", "start"),
    [
        pytest.param(H100, (), "1g.10gb", 6, id="away from everything large"),
        pytest.param(H100, (), "3g.40gb", 4, id="4g stays possible"),
        pytest.param(H100, place(("3g.40gb", 4)), "1g.10gb", 3, id="within one half"),
        pytest.param(H100, place(("1g.10gb", 0)), "1g.10gb", 1, id="beside what is broken already"),
        pytest.param(RTX, place(("1g.24gb", 0)), "1g.24gb", 3, id="units of three"),
    ],
)
def test_the_best_start_keeps_large_slices(
    model: devices.DeviceModel, occupied: tuple[geometry.Placement, ...], profile: str, start: int
) -> None:
    assert geometry.best_start(model, occupied, profile) == start


def test_the_best_start_never_leaves_fewer_placements_than_another() -> None:
    for cut, name in itertools.product(layouts.enumerate_cuts(A30), [p.name for p in A30.profiles]):
        starts = geometry.legal_starts(A30, cut.layout.placements, name)
        if not starts:
            continue
        left = {
            start: sum(
                len(
                    geometry.legal_starts(
                        A30, (*cut.layout.placements, geometry.Placement(name, start)), p.name
                    )
                )
                for p in A30.profiles
            )
            for start in starts
        }
        assert left[geometry.best_start(A30, cut.layout.placements, name)] == max(left.values())


def test_a_forecast_moves_the_best_start() -> None:
    assert geometry.best_start(H100, (), "1g.10gb", {"4g.40gb": 1.0}) == 6
    assert geometry.best_start(H100, (), "2g.20gb", {"3g.40gb": 1.0}) == 4


def test_no_start_is_an_error() -> None:
    with pytest.raises(geometry.NoLayoutError, match=r"4g\.40gb cannot be placed"):
        geometry.best_start(H100, place(("1g.10gb", 0)), "4g.40gb")
