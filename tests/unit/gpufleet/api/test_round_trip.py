"""Any valid object survives model → wire → model."""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from gpufleet.api import gpu_pool, meta, training_job, triton_service
from tests import strategies_api

MODELS: list[type[meta.Schema]] = [
    triton_service.TritonServiceSpec,
    triton_service.TritonServiceStatus,
    training_job.TrainingJobSpec,
    training_job.TrainingJobStatus,
    gpu_pool.GPUPoolSpec,
    gpu_pool.GPUPoolStatus,
]


def holds(whole: Any, part: Any) -> bool:
    """Whether everything in `part` is in `whole`, which may add defaults."""
    if isinstance(part, dict):
        return all(key in whole and holds(whole[key], value) for key, value in part.items())
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(holds, whole, part))
    return bool(whole == part)


@pytest.mark.parametrize("model", MODELS)
@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=50, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
def test_wire_and_model_say_the_same(model: type[meta.Schema], data: st.DataObject) -> None:
    wire = data.draw(strategies_api.specs(model))
    parsed = model.model_validate(wire)
    assert holds(parsed.to_wire(), wire)
    assert model.model_validate(parsed.to_wire()) == parsed


def test_the_comparison_can_fail() -> None:
    assert not holds({"a": [{"b": 1}]}, {"a": [{"b": 2}]})
    assert not holds({"a": 1}, {"b": 1})
    assert not holds([1, 2], [1])


def test_unknown_fields_are_left_out() -> None:
    parsed = gpu_pool.GPUPoolSpec.model_validate({"nodeSelector": {"a": "b"}, "later": 1})
    assert parsed.to_wire() == {"nodeSelector": {"a": "b"}}
