from __future__ import annotations

from typing import Any

import pytest

from gpufleet.api import triton_service
from gpufleet.cli import unknown


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({"replicas": 1, "models": [{"name": "m"}]}, [], id="all known"),
        pytest.param({"replica": 1}, ["spec.replica"], id="at the top"),
        pytest.param(
            {"models": [{"name": "m"}, {"name": "n", "maxBatchsize": 8}]},
            ["spec.models[1].maxBatchsize"],
            id="in a list",
        ),
        pytest.param(
            {"models": [{"batching": {"defaultQueuePolicy": {"timeout": 1}}}]},
            ["spec.models[0].batching.defaultQueuePolicy.timeout"],
            id="deep",
        ),
        pytest.param({"accelerator": {"class": "h100", "memory": "1Gi"}}, [], id="an alias of its own"),
        pytest.param({"models": None, "template": 3}, [], id="of no sense at all"),
        pytest.param({"models": [{"ensemble": {"steps": [{"inputMap": {"ANY": "X"}}]}}]}, [], id="free keys"),
    ],
)
def test_unknown_fields(spec: dict[str, Any], expected: list[str]) -> None:
    assert list(unknown.find(spec, triton_service.TritonServiceSpec, "spec")) == expected
