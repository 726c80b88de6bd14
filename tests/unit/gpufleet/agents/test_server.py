"""Triton's answers as they reach people; the rest of the module is tried on the real server."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest
from google.protobuf import json_format
from tritonclient.grpc import model_config_pb2, service_pb2
from tritonclient.utils import InferenceServerException

from gpufleet.agents.model import server


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param("no weights", "no weights", id="a reason"),
        pytest.param(
            "failed to load 'm', failed to poll from model repository",
            "failed to load 'm', failed to poll from model repository; "
            "the reason is in the log of the pod's container triton",
            id="no reason",
        ),
    ],
)
def test_explain(message: str, expected: str) -> None:
    assert server.explain(message) == expected


CONFIG = {"name": "e", "platform": "ensemble", "max_batch_size": 8, "ensemble_scheduling": {"step": []}}
SPURIOUS = "failed to load 'e', failed to poll from model repository"


class Client:
    """Triton that refuses to load, and runs `running`."""

    def __init__(self, said: str, running: dict[str, Any] | None) -> None:
        self.said, self.running = said, running

    async def load_model(self, name: str, **given: Any) -> None:
        raise InferenceServerException(self.said)

    async def get_model_config(self, name: str, **given: Any) -> Any:
        if self.running is None:
            raise InferenceServerException("Request for unknown model")
        config = json_format.ParseDict(self.running, model_config_pb2.ModelConfig())
        return service_pb2.ModelConfigResponse(config=config)


@pytest.mark.parametrize(
    ("said", "running", "is_ensemble", "loads"),
    [
        pytest.param(
            SPURIOUS, {**CONFIG, "version_policy": {"latest": {}}}, True, True, id="it runs as it should"
        ),
        pytest.param(SPURIOUS, {**CONFIG, "max_batch_size": 4}, True, False, id="an older one runs"),
        pytest.param(SPURIOUS, None, True, False, id="none runs"),
        pytest.param(SPURIOUS, CONFIG, False, False, id="no ensemble"),
        pytest.param("no weights", CONFIG, True, False, id="another reason"),
    ],
)
def test_an_ensemble_may_run_although_its_load_failed(
    said: str,
    running: dict[str, Any] | None,
    is_ensemble: bool,
    loads: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server.triton, "InferenceServerClient", lambda *args, **more: Client(said, running))
    one = server.Server("localhost:1", "key", "secret", 10)
    outcome = contextlib.nullcontext() if loads else pytest.raises(server.LoadError, match=said)
    with outcome:
        asyncio.run(one.load("e", json.dumps(CONFIG), is_ensemble=is_ensemble))
