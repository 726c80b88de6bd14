"""The query of Triton's chart against triton-inference-server/server#8979 and its fix #8980."""

from __future__ import annotations

import pytest

from tests.bench.autoscalers import chart


@pytest.mark.parametrize(
    ("models", "shown_us"),
    [
        pytest.param([(100_000.0, 100.0), (0.0, 0.0)], 495.05, id="#8980: 1000 us are shown as 495.05"),
        pytest.param([(2000.0, 2.0)], 1000 * 2 / 3, id="#8979: 2 requests show two thirds"),
        pytest.param([(1e9, 1e6), *[(0.0, 0.0)] * 3], 250.0, id="#8979: one busy of N models shows 1/N"),
        pytest.param([(0.0, 0.0)], 0.0, id="no traffic"),
    ],
)
def test_the_query_shows_too_little(models: list[tuple[float, float]], shown_us: float) -> None:
    assert chart.avg_time_queue_us(models) == pytest.approx(shown_us, abs=0.005)


def test_stock_values() -> None:
    # triton-inference-server/server: deploy/k8s-onprem/values.yaml, autoscaling.
    assert (chart.STOCK_TARGET_US, chart.STOCK_MAX) == (50, 3)
