"""The real server's verdict on pairs of configurations; the unit tests hold ours against the same pairs."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import uuid
from collections.abc import Iterator

import pytest
from tritonclient import grpc as triton
from tritonclient.utils import InferenceServerException

from gpufleet.decide.triton import config, graph
from gpufleet_sandbox import inference, kubectl
from gpufleet_sandbox.images import recipes
from tests import triton_pairs
from tests.e2e import conftest
from tests.triton_pairs import pairs

# Answers anything with zeros of the shape that the configuration promises.
MODEL = """
import json
import numpy
import triton_python_backend_utils as pb
class TritonPythonModel:
    def initialize(self, args):
        self.config = json.loads(args["model_config"])
    def execute(self, requests):
        batch = [1] if self.config["max_batch_size"] else []
        def answer(one):
            dims = [abs(int(dim)) for dim in one["dims"]]
            kind = pb.triton_string_to_numpy(one["data_type"])
            return pb.Tensor(one["name"], numpy.zeros(batch + dims, kind))
        return [pb.InferenceResponse([answer(one) for one in self.config["output"]]) for _ in requests]
"""
FOLDERS = ("m", "a", "b")
ARGS = [
    "--model-repository=/models",
    "--model-control-mode=explicit",
    "--rate-limit=execution_count",
]
REFUSED = [pytest.param(pair, id=pair.name) for pair in triton_pairs.PAIRS if pair.triton is not None]
TAKEN = [pytest.param(pair, id=pair.name) for pair in triton_pairs.PAIRS if pair.triton is None]
# Twins of several pairs are loaded once.
GOOD = {json.dumps(pair.good, sort_keys=True): pair for pair in triton_pairs.PAIRS}


def manifest(namespace: str) -> str:
    code = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "code", "namespace": namespace},
        "data": {"model.py": MODEL},
    }
    items = [{"key": "model.py", "path": f"{folder}/1/model.py"} for folder in FOLDERS]
    container = {
        "name": "triton",
        "image": recipes.TRITON,
        "command": ["tritonserver", *ARGS],
        "readinessProbe": {"httpGet": {"path": "/v2/health/live", "port": 8000}, "periodSeconds": 1},
        "volumeMounts": [
            {"name": "models", "mountPath": "/models"},
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "triton", "namespace": namespace},
        "spec": {
            "containers": [container],
            "terminationGracePeriodSeconds": 1,
            "volumes": [
                {"name": "models", "configMap": {"name": "code", "items": items}},
                {"name": "shm", "emptyDir": {"medium": "Memory"}},
            ],
        },
    }
    return f"{json.dumps(code)}\n---\n{json.dumps(pod)}\n"


@dataclasses.dataclass
class Server:
    """A Triton server with models of our making."""

    sandbox: conftest.Sandbox
    namespace: str
    # kubectl port-forward ends with the container: a server that has come back needs another.
    opened: contextlib.ExitStack

    def __post_init__(self) -> None:
        self.client = self._connect()

    def _connect(self) -> triton.InferenceServerClient:
        self.sandbox.kubectl(
            "wait", "-n", self.namespace, "pod/triton", "--for=condition=Ready", "--timeout=120s"
        )
        self.opened.close()
        forward = inference.forward(self.sandbox.client, self.namespace, "pod/triton", 8001)
        return triton.InferenceServerClient(self.opened.enter_context(forward))

    def _deaths(self) -> int:
        path = "jsonpath={.status.containerStatuses[0].restartCount}"
        return int(self.sandbox.kubectl("get", "pod", "triton", "-n", self.namespace, "-o", path))

    def read_log(self) -> str:
        return self.sandbox.kubectl("logs", "-n", self.namespace, "pod/triton")

    def clear(self) -> None:
        listed = self.client.get_model_repository_index(as_json=True).get("models", [])
        for name in sorted((one["name"] for one in listed if one.get("state") == "READY"), reverse=True):
            self.client.unload_model(name)

    def load(self, models: tuple[pairs.Wire, ...]) -> str:
        """Triton's words where it refuses one of the models; empty where it loads them all.

        Now and then the server dies of what it refuses, and then it has said nothing: asked again, once.
        """
        before = self._deaths()
        with contextlib.suppress(ConnectionError):
            return self._load(models)
        # The kubelet's backoff doubles from 10 s.
        kubectl.wait_until("Triton to be started again", lambda: self._deaths() > before, timeout_s=120)
        self.client = self._connect()
        return self._load(models)

    def _load(self, models: tuple[pairs.Wire, ...]) -> str:
        seen = len(self.read_log())
        try:
            for one in graph.order(pairs.parse(models)):
                text = json.dumps(config.to_json(config.build(one)))
                # An ensemble has no folder in the repository; a file of its own makes up for it.
                files = {"file:1/ensemble": b""} if one.ensemble else None
                self.client.load_model(one.name, config=text, files=files)
        except InferenceServerException as error:
            if "UNAVAILABLE" in str(error.status()):
                raise ConnectionError(error.message()) from error
            # What is wrong with a configuration itself is told to the log alone.
            return f"{error.message()}\n{self.read_log()[seen:]}"
        return ""


@pytest.fixture(scope="module")
def running(sandbox: conftest.Sandbox) -> Iterator[Server]:
    namespace = f"verdict-{uuid.uuid4().hex[:8]}"
    sandbox.kubectl("create", "namespace", namespace)
    sandbox.kubectl("apply", "-f", "-", input=manifest(namespace))
    with contextlib.ExitStack() as opened:
        yield Server(sandbox, namespace, opened)
    sandbox.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture
def server(running: Server) -> Server:
    """The server without any model."""
    running.clear()
    return running


@pytest.mark.parametrize("pair", [pytest.param(pair, id=pair.name) for pair in GOOD.values()])
def test_the_good_one_loads(server: Server, pair: pairs.Pair) -> None:
    assert server.load(pair.good) == ""


@pytest.mark.parametrize("pair", REFUSED)
def test_the_bad_one_is_refused_for_the_same_reason(server: Server, pair: pairs.Pair) -> None:
    assert re.search(str(pair.triton), server.load(pair.bad)), "Triton said something else"


@pytest.mark.parametrize("pair", TAKEN)
def test_where_we_are_stricter_triton_takes_it(server: Server, pair: pairs.Pair) -> None:
    assert server.load(pair.bad) == ""
