"""Models that compute for real, keep state, are made of others, or take all the memory there is."""

from __future__ import annotations

from typing import Any

import pytest

from gpufleet_sandbox import inference, kubectl
from tests.e2e.fleet import manifests, services

MATRIX = """
import numpy
import triton_python_backend_utils as pb
class TritonPythonModel:
    def initialize(self, args):
        self.weights = numpy.triu(numpy.ones((4, 4), numpy.float32))
    def execute(self, requests):
        read = lambda r: pb.get_input_tensor_by_name(r, "X").as_numpy()
        return [pb.InferenceResponse([pb.Tensor("Y", read(r) @ self.weights)]) for r in requests]
"""
# Adds up what the requests of one sequence bring.
SUMS = """
import numpy
import triton_python_backend_utils as pb
class TritonPythonModel:
    def initialize(self, args):
        self.sums = {}
    def execute(self, requests):
        responses = []
        for one in requests:
            values, start, id_ = (
                pb.get_input_tensor_by_name(one, name).as_numpy() for name in ("X", "START", "CORRID")
            )
            key = int(id_.flat[0])
            if start.flat[0]:
                self.sums[key] = 0
            self.sums[key] = self.sums.get(key, 0) + values
            responses.append(pb.InferenceResponse([pb.Tensor("Y", self.sums[key])]))
        return responses
"""
LEAKY = """
import triton_python_backend_utils as pb
KEPT = []
class TritonPythonModel:
    def execute(self, requests):
        read = lambda r: pb.get_input_tensor_by_name(r, "X").as_numpy()
        if any(read(one).flat[0] < 0 for one in requests):
            KEPT.append(b"x" * (1 << 30))
        return [pb.InferenceResponse([pb.Tensor("Y", read(one))]) for one in requests]
"""
CODE = {"matrix": MATRIX, "sums": SUMS, "leaky": LEAKY}
CONTROLS = [
    {"name": "START", "controls": [{"kind": "Start", "dataType": "BOOL"}]},
    {"name": "CORRID", "controls": [{"kind": "CorrelationID", "dataType": "UINT64"}]},
]


def chain() -> dict[str, Any]:
    """double, then the matrix, then double again."""
    tensor = {"dataType": "FP32", "dims": [4]}
    names = [("doubler", "X", "A"), ("matrix", "A", "B"), ("second", "B", "Y")]
    steps = [
        {"modelName": name, "inputMap": {"X": read}, "outputMap": {"Y": made}} for name, read, made in names
    ]
    return {
        "name": "chain",
        "maxBatchSize": 8,
        "inputs": [{"name": "X", **tensor}],
        "outputs": [{"name": "Y", **tensor}],
        "ensemble": {"steps": steps},
    }


@pytest.fixture(autouse=True)
def _code(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in CODE.items():
        monkeypatch.setitem(manifests.CODE, name, text)


def ask(address: str, model: str, numbers: list[float], **parameters: Any) -> list[float]:
    body = {
        "inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP32", "data": numbers}],
        "parameters": parameters,
    }
    found: list[float] = inference.post(address, f"/v2/models/{model}/infer", body)["outputs"][0]["data"]
    return found


def test_they_all_answer_side_by_side(fleet: kubectl.Kubectl, namespace: str) -> None:
    sums = manifests.model(
        "sums", sequenceBatching={"maxSequenceIdleMicroseconds": 60_000_000, "controlInputs": CONTROLS}
    )
    models = ["doubler", "matrix", "second", chain(), sums]
    services.apply(fleet, manifests.service(namespace, services.NAME, models))
    fleet.run(
        "wait", "-n", namespace, f"tsvc/{services.NAME}", "--for=condition=Ready=True", services.TIMEOUT
    )
    with inference.forward(fleet, namespace, f"svc/{services.NAME}", 8000) as address:
        assert ask(address, "matrix", [1.0, 2.0, 3.0, 4.0]) == [1.0, 3.0, 6.0, 10.0]
        assert ask(address, "chain", [1.0, 2.0, 3.0, 4.0]) == [4.0, 12.0, 24.0, 40.0]
        for sequence in (7, 8):
            ask(address, "sums", [1.0] * 4, sequence_id=sequence, sequence_start=True)
        assert ask(address, "sums", [2.0] * 4, sequence_id=7) == [3.0] * 4
        assert ask(address, "sums", [5.0] * 4, sequence_id=8, sequence_end=True) == [6.0] * 4


def test_one_that_takes_all_memory_ends_alone_and_is_revived(fleet: kubectl.Kubectl, namespace: str) -> None:
    services.apply(fleet, manifests.service(namespace, "other", ["doubler"]))
    limited = {"resources": {"limits": {"memory": "768Mi"}}}
    models = ["leaky", "doubler"]
    services.apply(fleet, manifests.service(namespace, services.NAME, models, template=limited))
    for name in ("other", services.NAME):
        fleet.run("wait", "-n", namespace, f"tsvc/{name}", "--for=condition=Ready=True", services.TIMEOUT)
    with inference.forward(fleet, namespace, f"svc/{services.NAME}", 8000) as address:
        with pytest.raises(OSError):
            ask(address, "leaky", [-1.0] * 4)
        assert ask(address, "doubler", [1.0] * 4) == [2.0] * 4
    with inference.forward(fleet, namespace, "svc/other", 8000) as address:
        assert ask(address, "doubler", [1.0] * 4) == [2.0] * 4

    def answers_again() -> bool:
        with inference.forward(fleet, namespace, f"svc/{services.NAME}", 8000) as address:
            return ask(address, "leaky", [1.0] * 4) == [1.0] * 4

    kubectl.wait_until("the model's return", answers_again, timeout_s=120)
