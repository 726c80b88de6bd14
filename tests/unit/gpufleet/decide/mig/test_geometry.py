"""The facts about placements that the planner relies on, enumerated from the tables."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import hypothesis
import pytest
from hypothesis import strategies

from gpufleet.decide.mig import catalogue, devices, geometry

BY_NAME = {model.name: model for model in catalogue.default().models}
H100 = BY_NAME["H100-80GB-SXM"]
A30 = BY_NAME["A30"]
RTX = BY_NAME["RTX-PRO-6000"]
ONE_PER_FAMILY = [pytest.param(model, id=model.name) for model in (H100, A30, RTX)]
PLAIN = ("1g.10gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb")


def place(*pairs: tuple[str, int]) -> tuple[geometry.Placement, ...]:
    return tuple(geometry.Placement(profile, start) for profile, start in pairs)


def shapes(model: devices.DeviceModel, layout: geometry.Layout) -> list[devices.Shape]:
    return [geometry.profile_of(model, placement.profile).shape for placement in layout.placements]


def test_an_a7_gpu_has_the_19_layouts_of_the_mig_user_guide() -> None:
    plain = [
        layout
        for layout in geometry.enumerate_layouts(H100)
        if {placement.profile for placement in layout.placements} <= set(PLAIN)
    ]
    assert len(plain) == 19


@pytest.mark.parametrize("model", ONE_PER_FAMILY)
def test_layouts_are_legal_complete_and_distinct(model: devices.DeviceModel) -> None:
    layouts = geometry.enumerate_layouts(model)
    assert len(set(layouts)) == len(layouts)
    for layout in layouts:
        assert geometry.is_legal(model, layout.placements)
        assert not any(geometry.legal_starts(model, layout.placements, p.name) for p in model.profiles)


@pytest.mark.parametrize("model", ONE_PER_FAMILY)
def test_memory_units_imply_the_compute_cap(model: devices.DeviceModel) -> None:
    assert model.family is not None
    most = max(sum(s.compute for s in shapes(model, it)) for it in geometry.enumerate_layouts(model))
    assert most == model.family.compute_slices


def sub_layouts(model: devices.DeviceModel) -> Iterator[tuple[geometry.Placement, ...]]:
    seen = set()
    for layout in geometry.enumerate_layouts(model):
        for size in range(len(layout.placements) + 1):
            seen.update(itertools.combinations(layout.placements, size))
    yield from seen


@pytest.mark.parametrize("model", ONE_PER_FAMILY)
def test_counting_is_exact_on_an_empty_gpu(model: devices.DeviceModel) -> None:
    placeable = {tuple(sorted(p.profile for p in placed)) for placed in sub_layouts(model)}
    names = sorted(profile.name for profile in model.profiles)
    most = max(len(wanted) for wanted in placeable)
    countable = {
        wanted
        for size in range(most + 1)
        for wanted in itertools.combinations_with_replacement(names, size)
        if geometry.is_count_feasible(model, wanted)
    }
    assert countable == placeable


def test_counting_is_wrong_beside_instances() -> None:
    """More than a third of (occupied layout, further profile) pairs that counting admits do not fit."""
    admitted = fitting = 0
    for placed in sub_layouts(H100):
        if not placed:
            continue
        for profile in H100.profiles:
            if geometry.is_count_feasible(H100, [*(p.profile for p in placed), profile.name]):
                admitted += 1
                fitting += bool(geometry.legal_starts(H100, placed, profile.name))
    assert (admitted - fitting) / admitted > 1 / 3


@pytest.mark.parametrize("model", ONE_PER_FAMILY)
def test_largest_first_at_the_highest_start_never_backs_up_on_an_empty_gpu(
    model: devices.DeviceModel,
) -> None:
    for layout in geometry.enumerate_layouts(model):
        wanted = [placement.profile for placement in layout.placements]
        placed: list[geometry.Placement] = []
        for placement in geometry.creation_order(model, wanted):
            assert placement.start == max(geometry.legal_starts(model, placed, placement.profile))
            placed.append(placement)
        assert sorted(p.profile for p in placed) == sorted(wanted)


def fails(model: devices.DeviceModel, order: tuple[str, ...], *, highest: bool) -> bool:
    placed: list[geometry.Placement] = []
    for name in order:
        starts = geometry.legal_starts(model, placed, name)
        if not starts:
            return True
        placed.append(geometry.Placement(name, starts[-1] if highest else starts[0]))
    return False


def largest_first(model: devices.DeviceModel, layout: geometry.Layout) -> tuple[str, ...]:
    return tuple(
        sorted(
            (placement.profile for placement in layout.placements),
            key=lambda name: -geometry.profile_of(model, name).shape.size,
        )
    )


def test_largest_first_at_the_lowest_start_does_not_always_succeed() -> None:
    orders = {largest_first(H100, layout) for layout in geometry.enumerate_layouts(H100)}
    assert any(fails(H100, order, highest=False) for order in orders)


def test_the_order_of_the_user_guide_fails() -> None:
    order = ("1g.10gb", "1g.10gb", "2g.20gb", "3g.40gb")
    assert fails(H100, order, highest=True)
    assert not fails(H100, tuple(reversed(order)), highest=True)


@pytest.mark.parametrize(
    ("model", "occupied", "profile", "starts"),
    [
        pytest.param(H100, (), "2g.20gb", (0, 2, 4), id="2g never starts at 6"),
        pytest.param(H100, place(("1g.10gb", 0)), "4g.40gb", (), id="one small slice blocks 4g"),
        pytest.param(H100, place(("1g.10gb", 0)), "3g.40gb", (4,), id="but not 3g"),
        pytest.param(
            H100, place(("3g.40gb", 0)), "1g.20gb", (4, 6), id="double memory reaches the last unit"
        ),
        pytest.param(H100, place(("1g.10gb+me", 3)), "1g.10gb+me", (), id="one media extension"),
        pytest.param(A30, place(("2g.12gb+me", 0)), "1g.6gb+me", (), id="one extension across profiles"),
        pytest.param(RTX, place(("1g.24gb", 0)), "1g.24gb+me.all", (), id="all engines, one in use"),
        pytest.param(
            RTX, place(("1g.24gb-me", 0)), "1g.24gb+me.all", (3, 6, 9), id="beside one without media"
        ),
        pytest.param(RTX, place(("1g.24gb", 0)), "2g.48gb", (6,), id="units of three"),
    ],
)
def test_legal_starts(
    model: devices.DeviceModel,
    occupied: tuple[geometry.Placement, ...],
    profile: str,
    starts: tuple[int, ...],
) -> None:
    assert geometry.legal_starts(model, occupied, profile) == starts


@pytest.mark.parametrize(
    ("placements", "reason"),
    [
        pytest.param(place(("3g.40gb", 2)), "3g.40gb may start at 0, 4, not at 2", id="no such start"),
        pytest.param(
            place(("3g.40gb", 0), ("1g.10gb", 3)),
            "1g.10gb at 3 does not fit beside 3g.40gb at 0",
            id="overlap",
        ),
        pytest.param(place(("4g.40gb", 0), ("3g.40gb", 4)), None, id="legal"),
    ],
)
def test_illegality_has_a_reason(placements: tuple[geometry.Placement, ...], reason: str | None) -> None:
    assert geometry.why_illegal(H100, placements) == reason


def test_a_profile_of_another_model_is_named_with_the_ones_there_are() -> None:
    with pytest.raises(
        geometry.UnknownProfileError, match=r"no MIG profile 1g\.5gb: its profiles are 1g\.10gb"
    ):
        geometry.legal_starts(H100, (), "1g.5gb")


def test_mig_of_a_device_without_it_is_refused_with_the_reason() -> None:
    with pytest.raises(geometry.UnknownProfileError, match="cannot be cut"):
        geometry.creation_order(BY_NAME["L40S"], ["1g.10gb"])


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(geometry.NoLayoutError, match=r"4g\.40gb cannot be placed on .* beside 1g\.10gb at 0"):
        geometry.creation_order(H100, ["4g.40gb"], place(("1g.10gb", 0)))


def test_a_layout_counts_its_profiles() -> None:
    layout = geometry.Layout.of(place(("1g.10gb", 4), ("3g.40gb", 0), ("1g.10gb", 5)))
    assert layout.counts == {"1g.10gb": 2, "3g.40gb": 1}
    assert [placement.start for placement in layout.placements] == [0, 4, 5]


OCCUPIED = strategies.sampled_from(sorted(sub_layouts(H100), key=str))
WANTED = strategies.lists(strategies.sampled_from([p.name for p in H100.profiles]), max_size=4)


@hypothesis.settings(deadline=None)
@hypothesis.given(occupied=OCCUPIED, wanted=WANTED)
def test_creation_order_finds_a_placement_exactly_where_one_exists(
    occupied: tuple[geometry.Placement, ...], wanted: list[str]
) -> None:
    exists = any(
        geometry.is_legal(
            H100, (*occupied, *(geometry.Placement(n, s) for n, s in zip(wanted, starts, strict=True)))
        )
        for starts in itertools.product(*(geometry.profile_of(H100, name).shape.starts for name in wanted))
    )
    try:
        order = geometry.creation_order(H100, wanted, occupied)
    except geometry.NoLayoutError:
        assert not exists
        return
    assert exists
    assert geometry.is_legal(H100, (*occupied, *order))
    assert sorted(p.profile for p in order) == sorted(wanted)


@hypothesis.settings(deadline=None)
@hypothesis.given(occupied=OCCUPIED)
def test_free_units_are_those_no_instance_holds(occupied: tuple[geometry.Placement, ...]) -> None:
    held = sum(geometry.profile_of(H100, p.profile).shape.size for p in occupied)
    assert len(geometry.free_units(H100, occupied)) == 8 - held
