"""The Triton server of this pod, through its model-repository API that asks for our key."""

from __future__ import annotations

import dataclasses
from typing import Any

from google.protobuf import json_format
from tritonclient.grpc import aio as triton
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import InferenceServerException

# gRPC doubles the wait for a server that is not up yet, to two minutes; ours is on the same machine. It takes
# no less than 100 ms.
_RECONNECT = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 100)]
# An ensemble has no folder in the repository, and Triton asks for a version: a file given along makes one.
_ENSEMBLE_FILES = {"file:1/ensemble": b""}
# What makes an ensemble; Triton fills in others on its own.
_ENSEMBLE_FIELDS = (
    "ensemble_scheduling",
    "input",
    "output",
    "max_batch_size",
    "parameters",
    "response_cache",
)
_POLL_FAILED = "failed to poll from model repository"
_LOOK_TIMEOUT_S = 5.0
_UNLOAD_TIMEOUT_S = 60.0


class ServerDownError(Exception):
    """Nobody listens; the server may be starting."""


class NoAnswerError(Exception):
    """The server is there but did not answer as it should; what it has loaded is unknown."""


class LoadError(Exception):
    """The server refused to load the model; the message is its own."""


@dataclasses.dataclass
class Server:
    """One connection; every call may raise ServerDownError or NoAnswerError."""

    address: str
    key_header: str
    key: str
    load_timeout_s: float

    def __post_init__(self) -> None:
        # Triton prefixes the header's name for gRPC.
        self._headers = {f"triton-grpc-protocol-{self.key_header}": self.key}
        self._client = triton.InferenceServerClient(self.address, channel_args=_RECONNECT)

    async def statistics(self) -> dict[str, Any]:
        """What the server has counted of all that is loaded, as JSON of its gRPC protocol."""
        try:
            found: dict[str, Any] = await self._client.get_inference_statistics(
                headers=self._headers, as_json=True, client_timeout=_LOOK_TIMEOUT_S
            )
        except InferenceServerException as error:
            raise _read_error(error) from error
        return found

    async def loaded(self) -> dict[str, str]:
        """Models that answer requests now, and which versions of them: "3" or "2,3"."""
        # The repository's index has what is in its folders, and an ensemble has none there.
        ready = await self.statistics()
        found: dict[str, list[str]] = {}
        for one in ready.get("model_stats", ()):
            found.setdefault(one["name"], []).append(one.get("version", ""))
        return {name: ",".join(sorted(versions, key=_by_number)) for name, versions in found.items()}

    async def load(self, name: str, config: str, *, is_ensemble: bool = False) -> None:
        """Returns when the model is loaded and warm. Raises LoadError."""
        try:
            await self._client.load_model(
                name,
                headers=self._headers,
                config=config or None,
                files=_ENSEMBLE_FILES if is_ensemble else None,
                client_timeout=self.load_timeout_s,
            )
        except InferenceServerException as error:
            if _is_down(error):
                raise ServerDownError(str(error)) from error
            if is_ensemble and _POLL_FAILED in str(error.message()) and await self._runs(name, config):
                return
            raise LoadError(explain(str(error.message()))) from error

    async def _runs(self, name: str, config: str) -> bool:
        """Whether an ensemble is as wanted although its load came back with an error.

        Triton looks for all that it is made of in the repository, does not find the ensembles among that,
        says so, and loads it all the same.
        """
        wanted = json_format.Parse(config, model_config_pb2.ModelConfig())
        try:
            answer = await self._client.get_model_config(
                name, headers=self._headers, client_timeout=_LOOK_TIMEOUT_S
            )
        except InferenceServerException:
            return False
        return all(getattr(answer.config, field) == getattr(wanted, field) for field in _ENSEMBLE_FIELDS)

    async def unload(self, name: str) -> None:
        try:
            await self._client.unload_model(name, headers=self._headers, client_timeout=_UNLOAD_TIMEOUT_S)
        except InferenceServerException as error:
            raise _read_error(error) from error

    async def close(self) -> None:
        await self._client.close()


def explain(message: str) -> str:
    """Triton's words, and where to look where it tells the reason to its log alone."""
    if _POLL_FAILED in message:
        return f"{message}; the reason is in the log of the pod's container triton"
    return message


def _by_number(version: str) -> tuple[int, str]:
    return len(version), version


def _is_down(error: InferenceServerException) -> bool:
    return "UNAVAILABLE" in str(error.status())


def _read_error(error: InferenceServerException) -> ServerDownError | NoAnswerError:
    return ServerDownError(str(error)) if _is_down(error) else NoAnswerError(str(error))
