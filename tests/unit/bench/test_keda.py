"""KEDA's part of the benchmark against what KEDA publishes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from tests.bench.autoscalers import hpa, keda


@pytest.mark.parametrize(
    ("series", "ignores", "value"),
    [
        # kedacore/keda: pkg/scalers/prometheus_scaler_test.go, testPromQueryResult.
        pytest.param([], True, 0.0, id="no values"),
        pytest.param([], False, None, id="no values but shouldn't ignore"),
        pytest.param([None], True, 0.0, id="value is empty list"),
        pytest.param([None], False, None, id="value is empty list but shouldn't ignore"),
        pytest.param([2.0], True, 2.0, id="valid value"),
        pytest.param([1.0, 1.0], True, None, id="multiple results"),
        pytest.param([math.inf], True, 0.0, id="+Inf"),
        pytest.param([math.inf], False, None, id="+Inf but shouldn't ignore"),
        pytest.param([-math.inf], True, 0.0, id="-Inf"),
        pytest.param([-math.inf], False, None, id="-Inf but shouldn't ignore"),
    ],
)
def test_value_of_a_query(series: Sequence[float | None], ignores: bool, value: float | None) -> None:
    if value is None:
        with pytest.raises(keda.TriggerError):
            keda.read_answer(series, ignore_null_values=ignores)
    else:
        assert keda.read_answer(series, ignore_null_values=ignores) == value


@pytest.mark.parametrize(
    ("low", "threshold", "replicas", "polls", "after"),
    [
        # kedacore/keda-docs: concepts/scaling-deployments.md, "Activating and Scaling thresholds".
        pytest.param(0, 0, 0, [(0, 0)], 0, id="only above the threshold: 0 is not"),
        pytest.param(0, 0, 0, [(0, 1)], 1, id="1 is active at the default of 0"),
        pytest.param(0, 50, 0, [(0, 40)], 0, id="40 messages, activation 50: not active"),
        pytest.param(0, 50, 4, [(0, 60), (330, 40)], 0, id="40 messages: to zero though the HPA wants 4"),
        pytest.param(1, 50, 4, [(0, 60), (400, 0)], 4, id="a minimum of 1 is always active"),
        # kedacore/keda: pkg/scaling/executor/scale_scaledobjects.go.
        pytest.param(0, 0, 4, [(0, 1), (300, 0)], 4, id="cooling down for 300 s"),
        pytest.param(0, 0, 4, [(0, 1), (330, 0)], 0, id="from many to zero at once after it"),
        pytest.param(0, 0, 4, [(0, 0)], 0, id="never active: no cooldown"),
        pytest.param(3, 0, 0, [(0, 1)], 3, id="woken to the minimum"),
    ],
)
def test_activation(
    low: int, threshold: float, replicas: int, polls: Sequence[tuple[float, float]], after: int
) -> None:
    activation = keda.Activation(low, threshold)
    for now_s, value in polls:
        replicas = activation.poll(replicas, value, now_s)
    assert replicas == after


def test_threshold_10_and_40_messages_are_4_instances() -> None:
    # kedacore/keda-docs: concepts/scaling-deployments.md: what the HPA would require.
    assert hpa.replicas_of_external_metric(1, 40, 10) == 4


def test_defaults_are_those_of_a_scaled_object() -> None:
    # kedacore/keda-docs: reference/scaledobject-spec.md.
    assert (keda.POLL_S, keda.COOLDOWN_S) == (30, 300)
