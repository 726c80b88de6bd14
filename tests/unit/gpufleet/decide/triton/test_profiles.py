from __future__ import annotations

import datetime

import pytest

from gpufleet.decide.triton import profiles, service_time
from gpufleet.state import models

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)


def counted(*batches: tuple[int, int, int]) -> models.Measured:
    """(size, count, microseconds of one)."""
    return models.Measured(
        60, batches=tuple(models.BatchTime(size, count, count * us) for size, count, us in batches)
    )


def build(*measured: models.Measured, slowdown: float = 1.0):  # type: ignore[no-untyped-def]
    points = profiles.pool_points(measured, slowdown)
    return profiles.build("vision", "m", "cpu", 1, points, NOW)


def test_several_pods_make_one_line() -> None:
    found = build(counted((1, 400, 25_000)), counted((4, 10, 40_000)))
    assert found is not None
    assert found.fit.alpha_microseconds == pytest.approx(20_000)
    assert found.fit.beta_microseconds == pytest.approx(5_000)
    assert found.fit.r_squared == 1
    assert [(one.batch_size, one.count, one.mean_microseconds) for one in found.points] == [
        (1, 400, 25_000),
        (4, 10, 40_000),
    ]


def test_what_instances_cost_each_other_is_not_in_the_line() -> None:
    found = build(counted((1, 400, 50_000), (4, 10, 80_000)), slowdown=2.0)
    assert found is not None
    assert found.fit.alpha_microseconds == pytest.approx(20_000)


@pytest.mark.parametrize(
    ("measured", "says"),
    [
        pytest.param([], "seen so far are none", id="nothing"),
        pytest.param([counted((1, 500, 10))], "seen so far are 1;", id="one size"),
        pytest.param([counted((1, 500, 10), (2, 9, 20))], "seen so far are 1;", id="a size too seldom"),
        pytest.param([counted((1, 10, 10), (2, 10, 20))], "200 batches", id="too few in all"),
    ],
)
def test_what_is_lacking_for_a_line_is_said(measured: list[models.Measured], says: str) -> None:
    assert says in profiles.describe_lack(profiles.pool_points(measured))
    assert build(*measured) is None


@pytest.mark.parametrize(
    ("batches", "drifted"),
    [
        pytest.param((4, 200, 40_000), False, id="as the line says"),
        pytest.param((4, 200, 47_000), False, id="within a fifth"),
        pytest.param((4, 200, 49_000), True, id="slower"),
        pytest.param((4, 200, 31_000), True, id="faster"),
        pytest.param((4, 20, 90_000), False, id="too few to say"),
    ],
)
def test_drift(batches: tuple[int, int, int], drifted: bool) -> None:
    known = build(counted((1, 400, 25_000), (8, 10, 60_000)))
    assert known is not None
    assert profiles.has_drifted(known, profiles.pool_points([counted(batches)])) is drifted


def test_a_line_of_nothing_has_no_ratio() -> None:
    time = service_time.ServiceTime(0.0, 0.0)
    assert profiles.compute_ratio(time, [service_time.Point(1, 0.1, 50)]) is None
