"""Objects as users write them, with what a test wants changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

DOUBLER = """
import triton_python_backend_utils as pb
class TritonPythonModel:
    def execute(self, requests):
        read = lambda r: pb.get_input_tensor_by_name(r, "X").as_numpy()
        return [pb.InferenceResponse([pb.Tensor("Y", read(r) * 2)]) for r in requests]
"""
# Answers with the time at which the instance was made.
STAMP = """
import time, numpy
import triton_python_backend_utils as pb
class TritonPythonModel:
    def initialize(self, args):
        self.made = time.time() % 1e6
    def execute(self, requests):
        time.sleep(0.05)
        read = lambda r: pb.get_input_tensor_by_name(r, "X").as_numpy()
        fill = lambda x: numpy.full(x.shape, self.made, numpy.float32)
        return [pb.InferenceResponse([pb.Tensor("Y", fill(read(r)))]) for r in requests]
"""
# Takes 20 ms for a batch and 5 ms for each of its items.
TIMED = """
import time
import triton_python_backend_utils as pb
class TritonPythonModel:
    def execute(self, requests):
        inputs = [pb.get_input_tensor_by_name(one, "X").as_numpy() for one in requests]
        time.sleep(0.02 + 0.005 * sum(len(one) for one in inputs))
        return [pb.InferenceResponse([pb.Tensor("Y", one * 2)]) for one in inputs]
"""
# As above, but its second instance does not find what it needs.
GREEDY = (
    TIMED
    + """
    def initialize(self, args):
        import os
        try:
            os.close(os.open("/dev/shm/greedy", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            raise RuntimeError("all memory is taken")
    def finalize(self):
        import os
        os.unlink("/dev/shm/greedy")
"""
)
CODE = {"greedy": GREEDY, "timed": TIMED, "doubler": DOUBLER, "second": DOUBLER, "stamp": STAMP}
BROKEN = "raise RuntimeError('weights are missing')\n"


def model(name: str, **changes: Any) -> dict[str, Any]:
    tensor = {"dataType": "FP32", "dims": [4]}
    return {
        "name": name,
        "backend": "python",
        "maxBatchSize": 8,
        "inputs": [{"name": "X", **tensor}],
        "outputs": [{"name": "Y", **tensor}],
        "instanceGroups": [{"kind": "CPU", "count": 1}],
        **changes,
    }


def service(namespace: str, name: str, models: Sequence[str | dict[str, Any]], **spec: Any) -> str:
    """A ConfigMap with python models (`broken` cannot load) and the service that runs them."""
    keys = {f"{one}.py": code for one, code in {**CODE, "broken": BROKEN}.items()}
    code = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{name}-code", "namespace": namespace},
        "data": keys,
    }
    items = [{"key": key, "path": f"{key.removesuffix('.py')}/1/model.py"} for key in keys]
    wanted = {
        "apiVersion": "gpufleet.dev/v1alpha1",
        "kind": "TritonService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "modelRepository": {"configMap": {"name": f"{name}-code", "items": items}},
            "models": [model(one) if isinstance(one, str) else one for one in models],
            "accelerator": {"migProfile": "1g.10gb"},
            **spec,
        },
    }
    return f"{json.dumps(code)}\n---\n{json.dumps(wanted)}\n"


def training_job(namespace: str, name: str, script: str, *, workers: int = 2, **spec: Any) -> str:
    """A gang that runs a Python script in the trainer's image."""
    wanted = {
        "apiVersion": "gpufleet.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "framework": "JAX",
            "workers": {"max": workers},
            "template": {"image": "gpufleet.dev/trainer:0.1.0", "command": ["python3", "-c", script]},
            **spec,
        },
    }
    return json.dumps(wanted)
