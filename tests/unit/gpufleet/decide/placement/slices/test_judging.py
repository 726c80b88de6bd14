"""Which size a service should have, by what the loads of a day would have cost."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpufleet.api import accelerator
from gpufleet.decide.autoscaling import forecast, rehearsal
from gpufleet.decide.placement.slices import costs, judging, offers
from tests.unit.gpufleet.decide.autoscaling.builders import make_spec

DAY = 24 * 60


def make_offer(name: str = "3g.40gb", share: float = 0.5, free: int = 8, price: float | None = None) -> Any:
    assigned = accelerator.AssignedAccelerator(resource=f"nvidia.com/mig-{name}", count=1)
    return offers.Offer(assigned, share, free, price, None)


SMALL = ("1g.10gb", 1 / 7)


def make_load(*loads: float, fewest: int = 1) -> costs.Load:
    """A day of these loads, each as long, without any margin."""
    bins = numpy.repeat(numpy.array(loads or (30.0,)), DAY // len(loads or (1,)))
    return costs.Load(bins, 1.0, 0.0, fewest)


def make_case(*sizes: tuple[Any, float], load: costs.Load | None = None, **fields: Any) -> judging.Case:
    base: dict[str, Any] = {
        "most_servers": 20,
        "start_s": 60.0,
        "blackout_s": 60.0,
        "horizon_s": 3600.0,
    }
    return judging.Case(sizes, load or make_load(), **(base | fields))


PRESENT = (make_offer(), 40.0)
TOO_SMALL = (make_offer(*SMALL), 0.0)
"""Alone a request takes too long."""


@pytest.mark.parametrize(
    ("case", "reason", "name"),
    [
        pytest.param(make_case(PRESENT), judging.PROFILES_MISSING, "", id="no other size was measured"),
        pytest.param(
            make_case(PRESENT, (make_offer(*SMALL), 10.0)), judging.CHEAPER, "1g.10gb", id="three sevenths"
        ),
        pytest.param(
            make_case(PRESENT, (make_offer(*SMALL), 8.0)), judging.BEST, "3g.40gb", id="four sevenths"
        ),
        pytest.param(
            make_case(PRESENT, (make_offer("2g.20gb", 0.46), 30.0)),
            judging.NOT_WORTH,
            "2g.20gb",
            id="hardly cheaper",
        ),
        pytest.param(
            make_case(PRESENT, (make_offer(*SMALL), 10.0), start_s=1800.0, horizon_s=600.0),
            judging.NOT_WORTH,
            "1g.10gb",
            id="the move is not won back",
        ),
        pytest.param(
            make_case(
                PRESENT, (make_offer(*SMALL, free=0), 10.0), blackout_s=3600.0, start_s=0.0, horizon_s=3600.0
            ),
            judging.NOT_WORTH,
            "1g.10gb",
            id="a GPU would have to be cut",
        ),
        pytest.param(make_case(PRESENT, TOO_SMALL), judging.BEST, "3g.40gb", id="the other misses it alone"),
        pytest.param(
            make_case(TOO_SMALL, PRESENT), judging.NEEDED, "3g.40gb", id="the present one misses it alone"
        ),
        pytest.param(
            make_case((make_offer(*SMALL), 10.0), PRESENT, load=make_load(10.0, 100.0), most_servers=5),
            judging.NEEDED,
            "3g.40gb",
            id="the highest load needs more servers than may be",
        ),
        pytest.param(
            make_case(PRESENT, (make_offer(*SMALL), 10.0), load=make_load(900.0), most_servers=5),
            judging.BEST,
            "3g.40gb",
            id="no size holds it",
        ),
        pytest.param(
            make_case(PRESENT, (make_offer(*SMALL), 10.0), load=make_load(30.0, 30.0, 30.0, 200.0)),
            judging.BEST,
            "3g.40gb",
            id="cheaper now, and not over the day",
        ),
        pytest.param(
            make_case((make_offer(price=2.0), 40.0), (make_offer("1g.12gb", 1 / 7, price=9.0), 10.0)),
            judging.BEST,
            "3g.40gb",
            id="smaller, of a dear GPU",
        ),
        pytest.param(
            make_case(PRESENT, (make_offer("1g.12gb", 1 / 7, price=9.0), 10.0)),
            judging.PRICE_MISSING,
            "",
            id="one pool has a price",
        ),
        pytest.param(
            make_case((make_offer(price=2.0), 40.0), (make_offer(*SMALL), 10.0)),
            judging.BEST,
            "3g.40gb",
            id="one without a price is no choice",
        ),
        pytest.param(
            make_case((make_offer(price=0.0), 40.0), (make_offer(*SMALL, price=0.0), 10.0)),
            judging.BEST,
            "3g.40gb",
            id="all is free",
        ),
        pytest.param(
            make_case(PRESENT, (make_offer(*SMALL), 10.0), load=make_load(0.0, fewest=0)),
            judging.BEST,
            "3g.40gb",
            id="it sleeps all day",
        ),
        pytest.param(
            make_case(
                PRESENT,
                (make_offer(*SMALL), 10.0),
                load=costs.Load(numpy.full(200, 30.0), 1.0, 0.0, 1),
            ),
            judging.LOADS_SHORT,
            "",
            id="hardly seen",
        ),
    ],
)
def test_what_is_chosen(case: judging.Case, reason: str, name: str) -> None:
    found = judging.judge(case)
    assert (found.reason, found.cost.offer.name if found.cost else "") == (reason, name)
    assert found.message


def test_what_is_told_of_a_cheaper_slice() -> None:
    found = judging.judge(make_case(PRESENT, (make_offer(*SMALL), 10.0)))
    assert found.message == (
        "3 × 1g.10gb (up to 3; 0.43 GPUs on average) instead of 1 × 3g.40gb (up to 1; 0.50 GPUs on average): "
        "14 % less; the move costs 0.01 GPU-hours, won back in 6 min"
    )


@given(
    present=st.tuples(st.floats(0.1, 1.0), st.floats(1.0, 100.0)),
    others=st.lists(st.tuples(st.floats(0.1, 1.0), st.floats(0.0, 100.0)), min_size=1, max_size=4),
    loads=st.lists(st.floats(0.0, 300.0), min_size=1, max_size=8),
    horizon_s=st.integers(60, 86_400),
)
def test_a_move_is_never_dearer_and_always_won_back(
    present: tuple[float, float],
    others: list[tuple[float, float]],
    loads: list[float],
    horizon_s: int,
) -> None:
    """And the size that was moved to moves nowhere by the same loads."""
    sizes = [
        (make_offer(f"{number + 1}g.10gb", share), carries)
        for number, (share, carries) in enumerate([present, *others])
    ]
    case = make_case(*sizes, load=make_load(*loads), horizon_s=float(horizon_s), most_servers=50)
    found = judging.judge(case)
    if found.reason not in judging.WANTS:
        return
    assert found.cost is not None
    assert found.cost.peak <= 50
    [chosen] = [one for one in sizes if one[0] is found.cost.offer]
    before = costs.compute(sizes[0][0], sizes[0][0].share, sizes[0][1], case.load)
    if found.reason == judging.CHEAPER:
        assert found.cost.per_hour <= (1 - judging.LEAST_SAVING) * before.per_hour + 1e-6
        move = found.cost.servers * found.cost.offer.share * case.start_s
        assert (before.per_hour - found.cost.per_hour) * case.horizon_s >= move - 1e-6
    again = [chosen, *(one for one in sizes if one is not chosen)]
    after = judging.judge(dataclasses.replace(case, sizes=again))
    assert after.reason not in judging.WANTS


def test_margin_and_spare_are_a_load_and_not_servers() -> None:
    """A spare half of a large server is more than one small one."""
    spec = make_spec(maxReplicas=9, minReplicas=1)
    load = costs.build_load(spec, numpy.full(DAY, 30.0), rehearsal.Choice(margin=0.2, spare=0.5), 40.0)
    assert (load.factor, load.spare) == (pytest.approx(1.2), 20.0)
    found = costs.compute(make_offer(*SMALL), 1.0, 10.0, load)
    assert found.peak == math.ceil((30 * 1.2 + 20) / 10)


def test_a_fixed_share_kept_free_is_all_that_is_added() -> None:
    spec = make_spec(maxReplicas=9, headroomPercent=50)
    load = costs.build_load(spec, numpy.full(DAY, 30.0), rehearsal.Choice(spare=1.0), 40.0)
    assert (load.factor, load.spare) == (pytest.approx(2.0), 0.0)


def test_minutes_without_evidence_are_left_out() -> None:
    packed = numpy.array([1.0, math.nan, 3.0], numpy.float32).tobytes()
    assert costs.read_loads(forecast.History(loads=packed)).tolist() == [1.0, 3.0]
