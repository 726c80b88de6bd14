"""Requests made from a model's configuration."""

from __future__ import annotations

from typing import Any

import pytest
from tritonclient.grpc import model_config_pb2

from gpufleet.agents.load import requests


def config(*dims: int, batch: int = 8, kind: str = "TYPE_FP32", **fields: Any) -> Any:
    tensor = model_config_pb2.ModelInput(name="X", data_type=kind, dims=dims, **fields)
    return model_config_pb2.ModelConfig(name="m", max_batch_size=batch, input=[tensor])


@pytest.mark.parametrize(
    ("model", "batch", "shapes", "shape", "kind"),
    [
        pytest.param(config(4), 2, {}, [2, 4], "FP32", id="a batch"),
        pytest.param(config(3, 5, batch=0), 1, {}, [3, 5], "FP32", id="a model that does not batch"),
        pytest.param(config(-1), 1, {"X": [7]}, [1, 7], "FP32", id="an open dimension"),
        pytest.param(config(2, kind="TYPE_STRING"), 1, {}, [1, 2], "BYTES", id="text"),
        pytest.param(config(2, kind="TYPE_BOOL"), 1, {}, [1, 2], "BOOL", id="flags"),
    ],
)
def test_inputs(model: Any, batch: int, shapes: dict[str, list[int]], shape: list[int], kind: str) -> None:
    [made] = requests.build_inputs(model, batch, shapes, 1.0)
    assert (made.name(), list(made.shape()), made.datatype()) == ("X", shape, kind)


def test_optional_inputs_are_left_out() -> None:
    assert requests.build_inputs(config(4, optional=True), 1, {}, 1.0) == []


@pytest.mark.parametrize(
    ("model", "batch", "says"),
    [
        pytest.param(config(-1), 1, "open dimensions", id="an open dimension"),
        pytest.param(config(4, batch=2), 3, "more than m takes", id="too large a batch"),
        pytest.param(config(4, batch=0), 2, "more than m takes", id="a batch where there is none"),
    ],
)
def test_what_cannot_be_made_says_why(model: Any, batch: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        requests.build_inputs(model, batch, {}, 1.0)
