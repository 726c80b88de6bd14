from __future__ import annotations

from typing import Any

import pytest

from gpufleet.decide.autoscaling import demand, forecast, rehearsal
from tests.unit.gpufleet.decide.autoscaling.builders import make_spec


@pytest.mark.parametrize(
    ("spec", "ahead", "expected", "margin"),
    [
        pytest.param({"headroomPercent": 20}, None, 80.0, 20.0, id="a share that is kept free"),
        pytest.param({}, None, 80.0, 24.0, id="what was rehearsed"),
        pytest.param({}, ("Trend", 90.0), 90.0, 14.0, id="a trend takes of the margin"),
        pytest.param({}, ("Trend", 120.0), 120.0, 0.0, id="a trend beyond it"),
        pytest.param({}, ("Seasonal", 60.0), 80.0, 24.0, id="a fall is not waited for"),
        pytest.param(
            {"headroomPercent": 20}, ("Trend", 100.0), 100.0, 25.0, id="a share of what is expected"
        ),
    ],
)
def test_what_is_provided_for(
    spec: dict[str, Any], ahead: tuple[Any, float] | None, expected: float, margin: float
) -> None:
    """80 requests per second come."""
    found = forecast.Forecast(ahead[1], ahead[0]) if ahead else None
    given, rehearsed = make_spec(**spec), rehearsal.Choice(margin=0.3)
    assert demand.foresee(given, 80.0, found, rehearsed) == pytest.approx((expected, margin))


@pytest.mark.parametrize(
    ("rehearsed", "ahead", "margin"),
    [
        pytest.param(rehearsal.Choice(margin=0.0, spare=0.5), None, 5.0, id="half a server"),
        pytest.param(
            rehearsal.Choice(margin=0.0, spare=0.5), ("Seasonal", 83.0), 2.0, id="a season takes of it"
        ),
        pytest.param(
            rehearsal.Choice(margin=0.1, follows_trend=True), ("Trend", 90.0), 9.0, id="beyond the trend"
        ),
        pytest.param(
            rehearsal.Choice(margin=0.0, spare=0.5, follows_trend=True),
            ("Trend", 70.0),
            5.0,
            id="beyond what comes while a trend falls",
        ),
    ],
)
def test_margin_of_a_rehearsal(
    rehearsed: rehearsal.Choice, ahead: tuple[Any, float] | None, margin: float
) -> None:
    """80 requests per second come, and a server carries 10."""
    found = forecast.Forecast(ahead[1], ahead[0]) if ahead else None
    given = make_spec()
    assert demand.foresee(given, 80.0, found, rehearsed, 10.0)[1] == pytest.approx(margin)
