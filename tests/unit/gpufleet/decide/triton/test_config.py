from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format, text_format
from hypothesis import given, settings
from tritonclient.grpc import model_config_pb2

from gpufleet.api import triton_service
from gpufleet.api.triton import model
from gpufleet.decide.triton import config
from tests import strategies_api

TENSOR = {"name": "X", "dataType": "FP32", "dims": [-1, 4]}


def make(**fields: Any) -> model.Model:
    return model.Model.model_validate({"name": "m", **fields})


def build(*, has_accelerator: bool = False, **fields: Any) -> dict[str, Any]:
    one = make(**fields)
    assert config.check([one], has_accelerator=has_accelerator) == []
    return config.to_json(config.build(one))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({}, {"name": "m"}, id="nothing but a name"),
        pytest.param({"backend": "python"}, {"name": "m", "backend": "python"}, id="backend"),
        pytest.param(
            {"inputs": [TENSOR]},
            {"name": "m", "input": [{"name": "X", "data_type": "TYPE_FP32", "dims": ["-1", "4"]}]},
            id="tensor",
        ),
        pytest.param(
            {"maxBatchSize": 8, "batching": {}},
            {"name": "m", "max_batch_size": 8, "dynamic_batching": {}},
            id="a batcher without values is on all the same",
        ),
        pytest.param(
            {
                "maxBatchSize": 8,
                "batching": {"preferredBatchSizes": [8, 4], "maxQueueDelayMicroseconds": 100},
            },
            {
                "name": "m",
                "max_batch_size": 8,
                "dynamic_batching": {"preferred_batch_size": [4, 8], "max_queue_delay_microseconds": "100"},
            },
            id="batcher",
        ),
        pytest.param(
            {"batching": {"mode": "Disabled", "preferredBatchSizes": [4]}},
            {"name": "m"},
            id="a batcher that is off takes no part",
        ),
        pytest.param(
            {"instanceGroups": [{"kind": "CPU", "count": 2}, {"kind": "Model"}]},
            {
                "name": "m",
                "instance_group": [{"kind": "KIND_CPU", "count": 2}, {"kind": "KIND_MODEL", "count": 1}],
            },
            id="instances without a GPU",
        ),
        pytest.param(
            {"parameters": [{"name": "k", "value": "v"}]},
            {"name": "m", "parameters": {"k": {"string_value": "v"}}},
            id="parameter",
        ),
    ],
)
def test_build(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    found = build(**fields)
    for group in found.get("instance_group", []):
        group.setdefault("kind", "KIND_AUTO")
    assert found == expected


def test_an_accelerator_allows_gpu_instances() -> None:
    assert build(has_accelerator=True, instanceGroups=[{"kind": "GPU"}])["instance_group"] == [
        {"kind": "KIND_GPU", "count": 1}
    ]


def test_an_accelerator_allows_indices_of_gpus() -> None:
    groups = [{"kind": "Auto", "gpus": [0]}]
    assert build(has_accelerator=True, instanceGroups=groups)["instance_group"][0]["gpus"] == [0]


def made_of(name: str, part: str, **fields: Any) -> model.Model:
    """An ensemble of one step."""
    steps = [{"modelName": part, "inputMap": {"X": "X"}, "outputMap": {"Y": "Y"}}]
    tensors = {"inputs": [TENSOR], "outputs": [{**TENSOR, "name": "Y"}]}
    return model.Model.model_validate({"name": name, "ensemble": {"steps": steps}, **tensors, **fields})


@pytest.mark.parametrize(
    ("decoupled", "wanted"),
    [
        pytest.param(False, [], id="no model is decoupled"),
        pytest.param(True, ["models[outer].responseCache", "m is one"], id="a model of the inner one is"),
    ],
)
def test_a_cache_knows_of_models_within_ensembles(decoupled: bool, wanted: list[str]) -> None:
    outer = made_of("outer", "inner", responseCache=True)
    said = config.check([make(decoupled=decoupled), made_of("inner", "m"), outer], has_accelerator=False)
    assert len(said) == bool(wanted)
    assert [word for word in wanted if word not in "".join(said)] == []


@settings(max_examples=25, deadline=None)
@given(strategies_api.specs(triton_service.TritonServiceSpec))
def test_both_forms_say_the_same(wire: dict[str, Any]) -> None:
    found = triton_service.TritonServiceSpec.model_validate(wire).models
    for one in (one for one in found if not config.check([one], has_accelerator=True)):
        built = config.build(one)
        from_text = text_format.Parse(config.to_pbtxt(built), model_config_pb2.ModelConfig())
        from_json = json_format.ParseDict(config.to_json(built), model_config_pb2.ModelConfig())
        assert from_text == from_json == built
