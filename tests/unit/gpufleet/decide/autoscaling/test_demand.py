from __future__ import annotations

from typing import Any

import pytest

from gpufleet.decide.autoscaling import demand, forecast
from tests.unit.gpufleet.decide.autoscaling.builders import make_spec


@pytest.mark.parametrize(
    ("spec", "ahead", "expected", "margin"),
    [
        pytest.param({"headroomPercent": 20}, None, 80.0, 20.0, id="a share that is kept free"),
        pytest.param({}, None, 80.0, 8.0, id="no forecast yet"),
        pytest.param({}, ("LastValue", 80.0, 70.0, 8.0), 70.0, 16.49, id="noise about its level"),
        pytest.param({}, ("LastValue", 80.0, 20.0, 8.0), 80.0, 16.49, id="it has left its level"),
        pytest.param({}, ("LastValue", 80.0, 20.0, 90.0), 20.0, 10.0, id="not more than half"),
        pytest.param({"confidencePercent": 50}, ("LastValue", 80.0, 70.0, 8.0), 70.0, 0.0, id="a bet"),
        pytest.param({}, ("Trend", 100.0, 70.0, 4.0), 100.0, 8.25, id="a trend"),
        pytest.param({}, ("Seasonal", 60.0, 70.0, 4.0), 80.0, 8.25, id="a fall is not foreseen"),
    ],
)
def test_what_is_provided_for(
    spec: dict[str, Any], ahead: tuple[Any, ...] | None, expected: float, margin: float
) -> None:
    """80 requests per second come."""
    found = None
    if ahead:
        method, value, level, deviation = ahead
        found = forecast.Forecast(value, method, level=level, deviation=deviation)
    given = make_spec(**spec)
    assert demand.foresee(given, 80.0, found) == pytest.approx((expected, margin), abs=0.01)
